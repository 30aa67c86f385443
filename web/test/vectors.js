/** The test vectors that Python wrote: `tests/vectors.json`. */

import { readFileSync } from 'node:fs';
import { inflateSync } from 'node:zlib';

export const VECTORS = JSON.parse(
  readFileSync(new URL('../../tests/vectors.json', import.meta.url), 'utf8'),
);

/** @param {{type: string, shape: number[], data: string}} vector of bytes */
export function decode({ shape, data }) {
  const pixels = Uint8Array.from(inflateSync(Buffer.from(data, 'base64')));
  return { height: shape[0], width: shape[1], pixels };
}

/** @param {{type: string, shape: number[], data: string}} vector of uint16 or int32 */
export function decodeIntegers(vector) {
  const { buffer } = decode(vector).pixels;
  return Array.from(vector.type === 'uint16' ? new Uint16Array(buffer) : new Int32Array(buffer));
}

/** @param {{type: string, shape: number[], data: string}} vector of float32 */
export function decodeFloats(vector) {
  const { height, width, pixels } = decode(vector);
  return { height, width, values: new Float32Array(pixels.buffer) };
}
