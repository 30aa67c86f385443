/**
 * From stored DICOM pixels to 8-bit grey, as a viewer first shows them: a port of
 * `keras_efsnet/images/dicom_display.py` and of the windows in `images/grey.py`.
 *
 * Reference: DICOM PS3.3, C.7.6.3.1.5 and 6 (palettes), C.11.1 (modality), C.11.2 (VOI).
 *
 * @typedef {import('dicom-parser').DataSet} DataSet
 * @typedef {import('./dicom-tags.js').Layout} Layout
 * @typedef {{entries: Uint16Array, first: number, bits: number}} Table
 *   `first`: the value that the first entry is for; `bits`: of an entry.
 * @typedef {{centre: number, width: number, kind: string}} Window
 */

import { findTag, isColour, listItems, readNumber, Refusal } from './dicom-tags.js';
import { toGrey } from './images.js';

const COLOURS = [
  ['x00281101', 'x00281201'],
  ['x00281102', 'x00281202'],
  ['x00281103', 'x00281203'],
];

/**
 * @param {Int32Array} samples
 * @param {Layout} layout
 * @param {DataSet[]} groups the tags of the frame
 * @returns {Uint8Array}
 */
export function toDisplay(samples, layout, groups) {
  if (isColour(layout)) return mix(samples.map(scaleBits(layout.stored)), layout);
  if (layout.photometric === 'PALETTE COLOR') return applyPalette(samples, layout, groups);
  const grey = Uint8Array.from(samples.map(chooseDisplay(layout, groups)));
  return layout.photometric === 'MONOCHROME1' ? grey.map((value) => 255 - value) : grey;
}

/**
 * @param {Layout} layout
 * @param {DataSet[]} groups
 * @returns {(stored: number) => number} the grey value of a stored one
 */
function chooseDisplay({ stored: bits, isSigned }, groups) {
  const { slope, intercept } = readRescale(groups);
  const modality = readFirstTable(groups, 'x00283000', isSigned);
  const isDeep = bits > 8;
  const window = isDeep ? readWindow(groups) : undefined;
  const voi = isDeep ? readFirstTable(groups, 'x00283010', isSigned) : undefined;
  if (!modality && !window && !voi) {
    const scale = scaleBits(bits);
    const lowest = isSigned ? -(1 << (bits - 1)) : 0;
    return (value) => (slope < 0 ? 255 - scale(value - lowest) : scale(value - lowest));
  }
  const transform = modality ? lookUp(modality) : (/** @type {number} */ value) => value * slope + intercept;
  if (window) return (value) => applyWindow(transform(value), window);
  if (voi) {
    const [find, scale] = [lookUp(voi), scaleBits(voi.bits)];
    return (value) => scale(find(round(transform(value))));
  }
  const scale = scaleBits(modality ? modality.bits : bits);
  return (value) => scale(transform(value));
}

/**
 * @param {number} bits
 * @returns {(value: number) => number} integers to 8 bits; of more, the highest 8 stay
 */
export function scaleBits(bits) {
  if (bits >= 8) return (value) => (value >> (bits - 8)) & 255;
  const factor = 255 / ((1 << bits) - 1);
  return (value) => round(value * factor);
}

/**
 * @param {number} value
 * @param {Window} window
 */
export function applyWindow(value, { centre, width, kind }) {
  const isLinear = kind === 'LINEAR';
  const distance = isLinear ? value - centre + 0.5 : value - centre;
  const range = isLinear ? width - 1 : width;
  if (kind === 'SIGMOID') return round(255 * (0.5 + 0.5 * Math.tanh((2 * distance) / range)));
  if (range === 0) return distance > 0 ? 255 : 0;
  return round(255 * Math.min(Math.max(distance / range + 0.5, 0), 1));
}

/**
 * @param {number} value
 * @returns {number} the nearest integer, of two the even one, as NumPy rounds
 */
function round(value) {
  const low = Math.floor(value);
  const rest = value - low;
  return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
}

/** @param {DataSet[]} groups */
function readRescale(groups) {
  const slope = readNumber(groups, 'x00281053') ?? 1;
  const intercept = readNumber(groups, 'x00281052') ?? 0;
  if (!slope || !Number.isFinite(slope * intercept)) {
    throw new Refusal(`a rescale slope of ${slope} is none; export the image again.`);
  }
  return { slope, intercept };
}

/**
 * @param {DataSet[]} groups
 * @returns {Window | undefined} the first
 */
function readWindow(groups) {
  const centre = readNumber(groups, 'x00281050');
  const width = readNumber(groups, 'x00281051');
  if (centre === undefined || width === undefined) return undefined;
  const kind = findTag(groups, 'x00281056').string('x00281056') || 'LINEAR';
  const isKnown = ['LINEAR', 'LINEAR_EXACT', 'SIGMOID'].includes(kind);
  const isWide = kind === 'LINEAR' ? width >= 1 : width > 0;
  if (!isKnown || !isWide || !Number.isFinite(width) || !Number.isFinite(centre)) {
    throw new Refusal(`its window is none (width ${width}); export the image again without it.`);
  }
  return { centre, width, kind };
}

/**
 * @param {DataSet[]} groups
 * @param {string} name of a sequence of tables
 * @param {boolean} isSigned
 */
function readFirstTable(groups, name, isSigned) {
  const item = listItems(groups, name)[0];
  return item && readTable(item, 'x00283002', 'x00283006', isSigned);
}

/**
 * Reads a table of 8-bit entries, alone or two in a word, or of 16-bit ones.
 *
 * @param {DataSet} tags
 * @param {string} descriptor
 * @param {string} data
 * @param {boolean} isSigned
 * @returns {Table}
 */
function readTable(tags, descriptor, data, isSigned) {
  const [count, bits] = [tags.uint16(descriptor, 0) || 2 ** 16, tags.uint16(descriptor, 2) ?? 0];
  const isFirstSigned = (tags.elements[descriptor]?.vr ?? (isSigned ? 'SS' : 'US')) === 'SS';
  const first = (isFirstSigned ? tags.int16(descriptor, 1) : tags.uint16(descriptor, 1)) ?? 0;
  const { vr, length = 0 } = tags.elements[data] ?? {};
  const words = Uint16Array.from({ length: length >> 1 }, (_, i) => tags.uint16(data, i) ?? 0);
  const isPacked = count > 1 && vr !== 'US' && vr !== 'SS' && words.length === (count + 1) >> 1;
  const entries = isPacked ? halve(words).subarray(0, count) : words;
  if (entries.length !== count || bits < 8 || bits > 16 || findHighest(entries) >> bits) {
    throw new Refusal(
      `a lookup table must have ${count} entries of ${bits} bits; export the image again.`,
    );
  }
  return { entries, first, bits };
}

/** @param {Uint16Array} words */
function halve(words) {
  return Uint16Array.from({ length: 2 * words.length }, (_, i) => (words[i >> 1] >> (8 * (i & 1))) & 255);
}

/** @param {Uint16Array} entries */
function findHighest(entries) {
  return entries.reduce((highest, entry) => Math.max(highest, entry), 0);
}

/**
 * @param {Table} table values outside take the nearest entry
 * @returns {(value: number) => number}
 */
function lookUp({ entries, first }) {
  const last = entries.length - 1;
  return (value) => entries[Math.min(Math.max(Math.trunc(value) - first, 0), last)];
}

/**
 * @param {Int32Array} samples
 * @param {Layout} layout
 * @param {DataSet[]} groups
 */
function applyPalette(samples, layout, groups) {
  const tables = COLOURS.map(([descriptor, data]) => {
    const tags = findTag(groups, descriptor);
    if (!tags.elements[descriptor] || ![8, 16].includes(tags.uint16(descriptor, 2) ?? 0)) {
      throw new Refusal('its palette must have entries of 8 or 16 bits; save it as RGB.');
    }
    if (!tags.elements[data]?.length) {
      throw new Refusal('a segmented palette is not read here; `efsnet predict` reads it.');
    }
    return readTable(tags, descriptor, data, layout.isSigned);
  });
  // Some writers store 8-bit colours in 16-bit entries; dcmtk and libtiff see it too.
  const highest = Math.max(...tables.map(({ entries }) => findHighest(entries)));
  const [find, scale] = [tables.map(lookUp), scaleBits(highest < 256 ? 8 : 16)];
  const rgb = new Int32Array(3 * samples.length);
  for (let at = 0; at < rgb.length; at++) {
    rgb[at] = scale(find[at % 3](samples[Math.floor(at / 3)]));
  }
  return mix(rgb, layout);
}

/**
 * @param {Int32Array} rgb
 * @param {Layout} layout
 */
function mix(rgb, { rows, columns }) {
  const rgba = new Uint8Array(4 * rows * columns);
  for (let pixel = 0; pixel < rows * columns; pixel++) {
    rgba.set(rgb.subarray(3 * pixel, 3 * pixel + 3), 4 * pixel);
  }
  return toGrey(rgba, rows, columns).pixels;
}
