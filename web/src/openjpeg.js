/** OpenJPEG in WebAssembly: loaded when the first JPEG 2000 comes. */

import makeModule from '@cornerstonejs/codec-openjpeg/decodewasmjs';
import address from '@cornerstonejs/codec-openjpeg/decodewasm?url';

import { decodeWith } from './jpeg-2000-decoder.js';

const codec = makeModule({
  locateFile: () => new URL(address, import.meta.url).href,
  print: () => {},
});

/** @param {Uint8Array} codestream */
export async function decodeJpeg2000(codestream) {
  return decodeWith(await codec, codestream);
}
