/**
 * Decoding of JPEG 2000 by OpenJPEG.
 *
 * @typedef {{
 *   J2KDecoder: new () => {
 *     getEncodedBuffer: (length: number) => Uint8Array,
 *     decode: () => void,
 *     getDecodedBuffer: () => Uint8Array,
 *     getFrameInfo: () => {bitsPerSample: number, isSigned: boolean},
 *     delete: () => void,
 *   },
 * }} Codec
 */

/**
 * @param {Codec} codec
 * @param {Uint8Array} codestream
 * @returns {Int32Array} samples as stored, of a pixel together
 */
export function decodeWith(codec, codestream) {
  const decoder = new codec.J2KDecoder();
  try {
    decoder.getEncodedBuffer(codestream.length).set(codestream);
    decoder.decode();
    const { bitsPerSample, isSigned } = decoder.getFrameInfo();
    const bytes = decoder.getDecodedBuffer().slice();
    if (bitsPerSample <= 8) return Int32Array.from(isSigned ? new Int8Array(bytes.buffer) : bytes);
    return Int32Array.from(
      isSigned ? new Int16Array(bytes.buffer) : new Uint16Array(bytes.buffer),
    );
  } finally {
    decoder.delete();
  }
}
