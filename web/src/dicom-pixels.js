/**
 * Stored pixels of a DICOM file: a port of `keras_efsnet/images/dicom_pixels.py`.
 *
 * @typedef {import('dicom-parser').DataSet} DataSet
 * @typedef {import('dicom-parser').Element} Element
 * @typedef {import('./dicom-tags.js').Layout} Layout
 * @typedef {{
 *   jpeg: (codestream: Uint8Array) => Promise<Uint8ClampedArray>,
 *   jpeg2000: (codestream: Uint8Array) => Promise<Int32Array>,
 * }} Decoders
 *   `jpeg` gives four bytes a pixel, `jpeg2000` its samples.
 */

import dicomParser from 'dicom-parser';

import { AGAIN, countFrames, Refusal } from './dicom-tags.js';
import { checkJpeg2000 } from './jpeg-2000.js';
import { checkJpeg } from './jpeg-markers.js';

const PLAIN = ['1.2.840.10008.1.2', '1.2.840.10008.1.2.1'];
const RLE = '1.2.840.10008.1.2.5';
const JPEG = ['1.2.840.10008.1.2.4.50', '1.2.840.10008.1.2.4.51'];
const JPEG_2000 = ['1.2.840.10008.1.2.4.90', '1.2.840.10008.1.2.4.91'];

const YBR = ['YBR_FULL', 'YBR_FULL_422'];
const ENDS = 'damaged DICOM file: its pixels end early; copy it again.';

/**
 * @param {DataSet} tags
 * @param {Layout} layout
 * @param {string} syntax that is read here
 * @param {number} frame from 1
 * @param {Decoders} decoders
 * @returns {Promise<Int32Array>} samples as stored, of a pixel together; RGB of colours
 */
export async function readPixels(tags, layout, syntax, frame, decoders) {
  const element = tags.elements.x7fe00010;
  if (!element) {
    throw new Refusal('no integer pixels in this DICOM file; give one with Pixel Data.');
  }
  if (Boolean(element.encapsulatedPixelData) === PLAIN.includes(syntax)) {
    throw new Refusal(`its pixels are not compressed as its tags say; ${AGAIN}`);
  }
  if (JPEG.includes(syntax)) {
    return takeJpeg(readCodestream(tags, element, frame), layout, decoders);
  }
  const { photometric } = layout;
  const convert = YBR.includes(photometric) ? toRgb : (/** @type {Int32Array} */ rgb) => rgb;
  if (JPEG_2000.includes(syntax)) {
    const codestream = checkJpeg2000(readCodestream(tags, element, frame), layout);
    return convert(await decoders.jpeg2000(codestream));
  }
  if (photometric === 'YBR_RCT' || photometric === 'YBR_ICT') {
    throw new Refusal(`${photometric} is for JPEG 2000 alone; ${AGAIN}`);
  }
  const raw =
    syntax === RLE
      ? expandRuns(readCodestream(tags, element, frame), layout)
      : arrange(readPlain(tags, element, layout, frame), tags, layout);
  return convert(takeStored(raw, layout));
}

/** @param {string} syntax */
export function isRead(syntax) {
  return [...PLAIN, RLE, ...JPEG, ...JPEG_2000].includes(syntax);
}

/**
 * @param {DataSet} tags
 * @param {Element} element
 * @param {number} frame
 */
function readCodestream(tags, element, frame) {
  const { fragments = [], basicOffsetTable = [] } = element;
  const frames = countFrames(tags);
  if (fragments.length < frames) throw new Refusal(ENDS);
  if (frames === 1 || fragments.length === frames) {
    const [first, count] = frames === 1 ? [0, fragments.length] : [frame - 1, 1];
    return Uint8Array.from(
      dicomParser.readEncapsulatedPixelDataFromFragments(tags, element, first, count),
    );
  }
  // Without a table, the end of a JPEG tells the end of its frame.
  const offsets = basicOffsetTable.length
    ? basicOffsetTable
    : dicomParser.createJPEGBasicOffsetTable(tags, element);
  return Uint8Array.from(
    dicomParser.readEncapsulatedImageFrame(tags, element, frame - 1, offsets),
  );
}

/**
 * @param {Uint8Array} codestream
 * @param {Layout} layout
 * @param {Decoders} decoders
 */
async function takeJpeg(codestream, layout, { jpeg }) {
  const rgba = await jpeg(checkJpeg(codestream, layout));
  const { rows, columns, samples } = layout;
  const pixels = new Int32Array(rows * columns * samples);
  for (let pixel = 0, at = 0; pixel < rows * columns; pixel++) {
    for (let sample = 0; sample < samples; sample++) pixels[at++] = rgba[4 * pixel + sample];
  }
  return pixels;
}

/**
 * @param {DataSet} tags
 * @param {Element} element
 * @param {Layout} layout
 * @param {number} frame
 * @returns {ArrayLike<number>} samples as they come, of the bits allocated
 */
function readPlain(tags, { dataOffset, length }, layout, frame) {
  const { byteArray } = tags;
  const { rows, columns, samples, allocated, photometric } = layout;
  if (dataOffset + length > byteArray.length) throw new Refusal(ENDS);
  const halved = photometric === 'YBR_FULL_422' ? 2 : samples;
  const count = rows * columns * halved;
  const expected = Math.ceil((countFrames(tags) * count * allocated) / 8);
  if (length !== expected && length !== expected + (expected % 2)) {
    throw new Refusal(
      `damaged DICOM file: tags say ${expected} bytes of pixels, but there are ${length}; ${AGAIN}`,
    );
  }
  if (allocated === 1) return unpackBits(byteArray, 8 * dataOffset + (frame - 1) * count, count);
  const size = (count * allocated) / 8;
  const start = dataOffset + (frame - 1) * size;
  const bytes = Uint8Array.from(byteArray.subarray(start, start + size));
  return allocated === 8 ? bytes : new Uint16Array(bytes.buffer);
}

/**
 * @param {Uint8Array} bytes
 * @param {number} first bit; the lowest of a byte comes first
 * @param {number} count
 */
function unpackBits(bytes, first, count) {
  return Uint8Array.from({ length: count }, (_, i) => {
    const at = first + i;
    return (bytes[at >> 3] >> (at & 7)) & 1;
  });
}

/**
 * @param {ArrayLike<number>} raw
 * @param {DataSet} tags
 * @param {Layout} layout
 * @returns {ArrayLike<number>} the samples of a pixel together
 */
function arrange(raw, tags, { rows, columns, samples, photometric }) {
  const isInPlanes = samples > 1 && tags.uint16('x00280006') === 1;
  if (photometric === 'YBR_FULL_422') {
    if (isInPlanes) throw new Refusal(`YBR_FULL_422 cannot be in planes; ${AGAIN}`);
    return doubleColours(raw);
  }
  if (!isInPlanes) return raw;
  const size = rows * columns;
  const pixels = new Int32Array(size * samples);
  for (let at = 0; at < pixels.length; at++) {
    pixels[at] = raw[(at % samples) * size + Math.floor(at / samples)];
  }
  return pixels;
}

/** @param {ArrayLike<number>} raw two Y, then their Cb and Cr */
function doubleColours(raw) {
  const pixels = new Int32Array((raw.length / 4) * 6);
  for (let from = 0, to = 0; from < raw.length; from += 4) {
    for (const luma of [raw[from], raw[from + 1]]) {
      pixels[to++] = luma;
      pixels[to++] = raw[from + 2];
      pixels[to++] = raw[from + 3];
    }
  }
  return pixels;
}

/**
 * Reference: DICOM PS3.5, annex G.
 *
 * @param {Uint8Array} codestream
 * @param {Layout} layout
 */
function expandRuns(codestream, { rows, columns, samples, allocated, photometric }) {
  if (photometric === 'YBR_FULL_422') throw new Refusal(`YBR_FULL_422 cannot be in planes; ${AGAIN}`);
  const view = new DataView(codestream.buffer);
  const bytes = allocated / 8;
  const count = view.getUint32(0, true);
  if (count !== samples * bytes) {
    throw new Refusal(`${count} RLE segments, but tags say ${samples * bytes}; ${AGAIN}`);
  }
  const offsets = Array.from({ length: count }, (_, i) => view.getUint32(4 + 4 * i, true));
  const pixels = new Int32Array(rows * columns * samples);
  offsets.forEach((offset, i) => {
    // The highest byte of a sample comes first.
    const shift = 8 * (bytes - 1 - (i % bytes));
    const plane = unpack(codestream.subarray(offset, offsets[i + 1]), rows * columns);
    const sample = Math.floor(i / bytes);
    plane.forEach((byte, at) => (pixels[at * samples + sample] |= byte << shift));
  });
  return pixels;
}

/**
 * @param {Uint8Array} segment
 * @param {number} size
 */
function unpack(segment, size) {
  const bytes = new Uint8Array(size);
  let [from, to] = [0, 0];
  while (from < segment.length && to < size) {
    const head = segment[from++];
    if (head < 128) {
      bytes.set(segment.subarray(from, Math.min(from + head + 1, from + size - to)), to);
      [from, to] = [from + head + 1, to + head + 1];
    } else if (head > 128) {
      bytes.fill(segment[from++], to, to + 257 - head);
      to += 257 - head;
    }
  }
  if (to < size) throw new Refusal(ENDS);
  return bytes;
}

/**
 * Takes the stored bits out of the allocated ones; overlays can be in others.
 *
 * @param {ArrayLike<number>} raw
 * @param {Layout} layout
 */
function takeStored(raw, { stored, high, isSigned }) {
  const [shift, mask] = [high + 1 - stored, (1 << stored) - 1];
  const half = isSigned ? 1 << (stored - 1) : 0;
  return Int32Array.from(raw, (value) => (((value >> shift) & mask) ^ half) - half);
}

/**
 * Converts YCbCr of ITU-R 601, full range, in Pillow's whole numbers.
 *
 * @param {Int32Array} ybr
 */
function toRgb(ybr) {
  const [red, greenB, greenR, blue] = [1.402, -0.34414, -0.71414, 1.772].map((weight) =>
    Int32Array.from({ length: 256 }, (_, value) => weight * 64 * (value - 128) + 0.5),
  );
  const rgb = new Uint8ClampedArray(ybr.length);
  for (let at = 0; at < ybr.length; at += 3) {
    const [y, b, r] = [ybr[at], ybr[at + 1], ybr[at + 2]];
    rgb[at] = y + (red[r] >> 6);
    rgb[at + 1] = y + ((greenB[b] + greenR[r]) >> 6);
    rgb[at + 2] = y + (blue[b] >> 6);
  }
  return Int32Array.from(rgb);
}
