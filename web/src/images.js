/**
 * From pixels to the network's grey input and from its output back: a port of
 * `keras_efsnet/images.py`, held to the same test vectors.
 *
 * @typedef {{height: number, width: number, pixels: Uint8Array}} Grey
 *   An 8-bit grey image, or a mask of 0 and 1, row by row.
 * @typedef {{height: number, width: number, values: Float32Array}} Probability
 */

import { resizeBytes, resizeFloats } from './resample.js';

/** Images with more pixels are refused, as in Python. */
export const MAX_PIXELS = 2 ** 25;

/**
 * 8-bit grey by ITU-R 601 in Pillow's whole numbers; alpha is ignored.
 *
 * @param {Uint8Array | Uint8ClampedArray} rgba four bytes a pixel
 * @param {number} height
 * @param {number} width
 * @returns {Grey}
 */
export function toGrey(rgba, height, width) {
  const pixels = new Uint8Array(height * width);
  for (let pixel = 0, at = 0; pixel < pixels.length; pixel++, at += 4) {
    const sum = rgba[at] * 19595 + rgba[at + 1] * 38470 + rgba[at + 2] * 7471;
    pixels[pixel] = (sum + 0x8000) >> 16;
  }
  return { height, width, pixels };
}

/**
 * @param {Grey} grey
 * @param {number} height
 * @param {number} width
 * @returns {Grey}
 */
export function resizeImage(grey, height, width) {
  const pixels = resizeBytes(grey.pixels, grey.height, grey.width, height, width);
  return { height, width, pixels };
}

/**
 * To be cut after it.
 *
 * @param {Probability} map
 * @param {number} height
 * @param {number} width
 * @returns {Probability}
 */
export function resizeProbability(map, height, width) {
  const values = resizeFloats(map.values, map.height, map.width, height, width);
  return { height, width, values };
}
