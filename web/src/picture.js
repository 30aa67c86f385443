/**
 * The image and over it the lesions, each on a canvas of the image's size.
 *
 * @typedef {import('./images.js').Grey} Grey
 * @typedef {import('./prediction.js').Prediction} Prediction
 * @typedef {import('./measurements.js').Lesion} Lesion
 * @typedef {{marking: string, opacity: number}} Look
 *   How lesions are drawn: as "contour", or as "fill" with this opacity from 0 to 1.
 */

import { COLOUR as CALLIPER_COLOUR, markCallipers } from './callipers.js';
import { COLOUR, findContour } from './contour.js';

/** For each value a pixel's four bytes, alpha highest. */
const GREYS = Uint32Array.from({ length: 256 }, (_, value) => colour([value, value, value]));
const BLACK_AND_WHITE = Uint32Array.of(GREYS[0], GREYS[255]);

/** The image's width in heights of a lesion's number. */
const LETTERS = 28;

const SMALLEST_FONT = 12;

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Grey} grey
 */
export function drawImage(canvas, grey) {
  draw(canvas, grey, GREYS);
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Prediction} prediction
 * @param {Lesion[]} measured those that get callipers
 * @param {Look} look
 */
export function drawLesions(canvas, { mask, boxes }, measured, { marking, opacity }) {
  const isFill = marking === 'fill';
  const marks = isFill ? { ...mask, pixels: mask.pixels.slice() } : findContour(mask, boxes);
  markCallipers(marks, measured);
  const line = colour(COLOUR, isFill ? opacity : 1);
  draw(canvas, marks, Uint32Array.of(0, line, colour(CALLIPER_COLOUR)));
  if (boxes.length > 1) writeNumbers(canvas, boxes);
}

/**
 * Writes each lesion's number above its upper left corner: the table has its figures.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {Prediction['boxes']} boxes
 */
function writeNumbers(canvas, boxes) {
  const context = canvas.getContext('2d');
  if (!context) return;
  const size = Math.max(Math.round(canvas.width / LETTERS), SMALLEST_FONT);
  Object.assign(context, {
    font: `600 ${size}px sans-serif`,
    textBaseline: 'bottom',
    fillStyle: `rgb(${COLOUR})`,
    lineWidth: size / 5,
    lineJoin: 'round',
  });
  boxes.forEach(([left, top], at) => {
    const y = Math.max(top, size);
    context.strokeText(String(at + 1), left, y);
    context.fillText(String(at + 1), left, y);
  });
}

/**
 * @param {Grey} mask
 * @returns {Promise<Blob>} a PNG file of 0 and 255
 */
export function encodeMask(mask) {
  const canvas = document.createElement('canvas');
  draw(canvas, mask, BLACK_AND_WHITE);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('the mask cannot be saved'))));
  });
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Grey} source
 * @param {Uint32Array} palette
 */
function draw(canvas, { height, width, pixels }, palette) {
  const image = new ImageData(width, height);
  const words = new Uint32Array(image.data.buffer);
  for (let at = 0; at < words.length; at++) words[at] = palette[pixels[at]];
  // Setting a size, even the same one, empties a canvas and costs time.
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  canvas.getContext('2d')?.putImageData(image, 0, 0);
}

/**
 * @param {number[]} rgb
 * @param {number} [opacity] from 0 to 1
 */
function colour([red, green, blue], opacity = 1) {
  return Math.round(255 * opacity) * 0x1000000 + blue * 0x10000 + green * 0x100 + red;
}
