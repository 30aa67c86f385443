/**
 * Files and video frames as grey images.
 *
 * @typedef {import('./images.js').Grey} Grey
 * @typedef {Grey & {
 *   regions: import('./measurements.js').Region[],
 *   frame: number | null,
 *   frames: number,
 * }} Image
 *   `regions`: those of a DICOM file. `frame`: its number in a DICOM file, from 1; null in a
 *   picture. `frames`: that the file has.
 */

import { hasMark, readDicom } from './dicom.js';
import { PICTURE_SUFFIXES, suffixOf } from './files.js';
import { MAX_PIXELS, toGrey } from './images.js';

/**
 * Reads an image file: a picture, turned as its EXIF orientation says, without colour
 * management, or a DICOM file.
 *
 * @param {Blob} file
 * @param {string} name for messages; its suffix tells pictures from DICOM
 * @param {number} [frame] from 1
 * @returns {Promise<Image>}
 */
export async function readImage(file, name, frame = 1) {
  const mayBeDicom = !PICTURE_SUFFIXES.includes(suffixOf(name));
  if (mayBeDicom && hasMark(await readBytes(file.slice(0, 132), name))) {
    return { ...(await readDicom(await readBytes(file, name), name, frame, DECODERS)), frame };
  }
  return { ...(await readPicture(file, name)), regions: [], frame: null, frames: 1 };
}

/**
 * @param {Blob} part
 * @param {string} name
 */
async function readBytes(part, name) {
  try {
    return new Uint8Array(await part.arrayBuffer());
  } catch {
    throw new Error(`${name}: cannot be read now; open it again.`);
  }
}

/**
 * @param {Blob} file
 * @param {string} name
 * @returns {Promise<Grey>}
 */
async function readPicture(file, name) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, PLAIN);
  } catch {
    throw new Error(
      `${name}: not an image that this browser reads; open a PNG, JPEG, BMP or DICOM file.`,
    );
  }
  const { height, width } = bitmap;
  try {
    if (height * width > MAX_PIXELS) {
      throw new Error(`${name}: more than ${MAX_PIXELS.toLocaleString('en')} pixels; scale the image down.`);
    }
    const pixels = draw(bitmap, height, width);
    return toGrey(isOpaque(pixels) ? pixels : readStraight(bitmap) ?? pixels, height, width);
  } finally {
    // Of a list, many would wait for the garbage collector.
    bitmap.close();
  }
}

/** @param {Uint8Array} jpeg */
async function decodeJpeg(jpeg) {
  const content = new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (jpeg)]);
  const bitmap = await createImageBitmap(content, PLAIN);
  const pixels = draw(bitmap, bitmap.height, bitmap.width);
  bitmap.close();
  return pixels;
}

/**
 * @param {HTMLVideoElement} video
 * @returns {Grey} the frame that it shows
 */
export function grabFrame(video) {
  const { videoHeight: height, videoWidth: width } = video;
  return toGrey(draw(video, height, width), height, width);
}

const DECODERS = {
  jpeg: decodeJpeg,
  jpeg2000: async (/** @type {Uint8Array} */ codestream) => {
    const { decodeJpeg2000 } = await import('./openjpeg.js');
    return decodeJpeg2000(codestream);
  },
};

/** @type {ImageBitmapOptions} */
const PLAIN = { colorSpaceConversion: 'none', premultiplyAlpha: 'none' };

const canvas = new OffscreenCanvas(1, 1);

/**
 * @param {ImageBitmap | HTMLVideoElement} source
 * @param {number} height
 * @param {number} width
 */
function draw(source, height, width) {
  // Setting a size empties the canvas and costs time; only an image can be transparent.
  if (source instanceof ImageBitmap || canvas.height !== height || canvas.width !== width) {
    Object.assign(canvas, { height, width });
  }
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (!context) throw new Error('this browser has no canvas to read images with.');
  context.drawImage(source, 0, 0);
  return context.getImageData(0, 0, width, height).data;
}

/** @param {Uint8ClampedArray} rgba */
function isOpaque(rgba) {
  for (let at = 3; at < rgba.length; at += 4) if (rgba[at] !== 255) return false;
  return true;
}

/**
 * The colours of a transparent image as they are in the file, as Python reads them: a
 * canvas in two dimensions multiplies them by their alpha.
 *
 * @param {ImageBitmap} bitmap
 * @returns {Uint8Array | undefined} nothing where there is no WebGL, or not for this size
 */
function readStraight(bitmap) {
  const gl = new OffscreenCanvas(1, 1).getContext('webgl');
  if (!gl) return undefined;
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  const pixels = new Uint8Array(4 * bitmap.width * bitmap.height);
  gl.readPixels(0, 0, bitmap.width, bitmap.height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  return gl.getError() === gl.NO_ERROR ? pixels : undefined;
}
