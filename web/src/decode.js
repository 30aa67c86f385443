/**
 * Files and video frames as grey images.
 *
 * @typedef {import('./images.js').Grey} Grey
 */

import { MAX_PIXELS, toGrey } from './images.js';

/**
 * Reads an image file, turned as its EXIF orientation says, without colour management.
 *
 * @param {Blob} file
 * @param {string} name for messages
 * @returns {Promise<Grey>}
 */
export async function readImage(file, name) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {
      colorSpaceConversion: 'none',
      premultiplyAlpha: 'none',
    });
  } catch {
    throw new Error(`${name}: not an image that this browser reads; open a PNG, JPEG or BMP file.`);
  }
  const { height, width } = bitmap;
  if (height * width > MAX_PIXELS) {
    throw new Error(`${name}: more than ${MAX_PIXELS.toLocaleString('en')} pixels; scale the image down.`);
  }
  return grab(bitmap, height, width);
}

/**
 * @param {HTMLVideoElement} video
 * @returns {Grey} the frame that it shows
 */
export function grabFrame(video) {
  return grab(video, video.videoHeight, video.videoWidth);
}

/**
 * @param {CanvasImageSource} source
 * @param {number} height
 * @param {number} width
 */
function grab(source, height, width) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (!context) throw new Error('this browser has no canvas to read images with.');
  context.drawImage(source, 0, 0);
  return toGrey(context.getImageData(0, 0, width, height).data, height, width);
}
