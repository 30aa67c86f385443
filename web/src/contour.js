/**
 * The border of a mask as `draw_overlay` of `keras_efsnet/prediction.py` draws it.
 *
 * @typedef {import('./images.js').Grey} Grey
 */

/** Red, green, blue. */
export const COLOUR = [255, 214, 0];

/** Past the image's edges is no lesion: one cut by the edge is closed there. */
const FRAME = 2;

/**
 * @param {Grey} mask of 0 and 1
 * @returns {Grey} of 0 and 1: 2 pixels wide, 3 in large images
 */
export function findContour(mask) {
  const { height, width } = mask;
  const stride = width + 2 * FRAME;
  const inside = addFrame(mask, stride);
  const outside = inside.map((bit) => 1 - bit);
  const nearInside = grow(inside, stride, 1);
  const nearOutside = grow(outside, stride, Math.min(height, width) >= 400 ? 2 : 1);
  const pixels = new Uint8Array(height * width);
  for (let row = 0; row < height; row++) {
    const start = (row + FRAME) * stride + FRAME;
    for (let column = 0; column < width; column++) {
      pixels[row * width + column] = nearInside[start + column] & nearOutside[start + column];
    }
  }
  return { height, width, pixels };
}

/**
 * @param {Grey} mask
 * @param {number} stride pixels of a row with its frame
 */
function addFrame({ height, width, pixels }, stride) {
  const framed = new Uint8Array((height + 2 * FRAME) * stride);
  for (let row = 0; row < height; row++) {
    const line = pixels.subarray(row * width, (row + 1) * width);
    framed.set(line, (row + FRAME) * stride + FRAME);
  }
  return framed;
}

/**
 * Sets each pixel with a 1 in the square of `radius` around it.
 *
 * @param {Uint8Array} pixels
 * @param {number} stride
 * @param {number} radius
 */
function grow(pixels, stride, radius) {
  for (let round = 0; round < radius; round++) {
    pixels = spread(spread(pixels, 1), stride);
  }
  return pixels;
}

/**
 * @param {Uint8Array} pixels
 * @param {number} step to the neighbours
 */
function spread(pixels, step) {
  const target = pixels.slice();
  for (let at = step; at < pixels.length - step; at++) {
    target[at] = pixels[at - step] | pixels[at] | pixels[at + step];
  }
  return target;
}
