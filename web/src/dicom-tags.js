/**
 * Tags of a DICOM file: a port of `keras_efsnet/images/dicom_tags.py`.
 *
 * @typedef {import('dicom-parser').DataSet} DataSet
 * @typedef {'MONOCHROME1' | 'MONOCHROME2' | 'PALETTE COLOR' | 'RGB' | 'YBR_FULL'
 *   | 'YBR_FULL_422' | 'YBR_ICT' | 'YBR_RCT'} Photometric
 * @typedef {{
 *   rows: number,
 *   columns: number,
 *   samples: number,
 *   photometric: Photometric,
 *   allocated: number,
 *   stored: number,
 *   high: number,
 *   isSigned: boolean,
 * }} Layout
 *   `allocated`, `stored`: bits of a sample; `high`: the highest one stored.
 */

import { MAX_PIXELS } from './images.js';

/** A reason to refuse a file, in words for its user, without its name. */
export class Refusal extends Error {}

export const AGAIN = 'export the image again, uncompressed.';

const GREYS = ['MONOCHROME1', 'MONOCHROME2'];
const COLOURS = ['RGB', 'YBR_FULL', 'YBR_FULL_422', 'YBR_ICT', 'YBR_RCT'];
const PALETTE = 'PALETTE COLOR';

/**
 * Checks that the tags describe pixels that exist, and the same ones.
 *
 * @param {DataSet} tags
 * @returns {Layout}
 */
export function readLayout(tags) {
  const [rows, columns] = [tags.uint16('x00280010'), tags.uint16('x00280011')];
  if (!rows || !columns) throw new Refusal('no image in this DICOM file; give one with pixels.');
  const photometric = /** @type {Photometric} */ (need(tags.string('x00280004'), 'PhotometricInterpretation'));
  const layout = {
    rows,
    columns,
    samples: need(tags.uint16('x00280002'), 'SamplesPerPixel'),
    photometric,
    allocated: need(tags.uint16('x00280100'), 'BitsAllocated'),
    stored: need(tags.uint16('x00280101'), 'BitsStored'),
    high: need(tags.uint16('x00280102'), 'HighBit'),
    isSigned: need(tags.uint16('x00280103'), 'PixelRepresentation') === 1,
  };
  if (rows * columns > MAX_PIXELS) {
    throw new Refusal(`more than ${MAX_PIXELS.toLocaleString('en')} pixels; scale the image down.`);
  }
  checkBits(layout);
  checkColour(layout, tags);
  return layout;
}

/** @param {Layout} layout */
export function isColour({ photometric }) {
  return COLOURS.includes(photometric);
}

/** @param {DataSet} tags */
export function countFrames(tags) {
  return Number(tags.string('x00280008') || 1);
}

/**
 * The tags that hold for a frame: its functional groups, if any, before the rest.
 *
 * @param {DataSet} tags
 * @param {number} frame from 1
 * @returns {DataSet[]} those that come first decide
 */
export function listGroups(tags, frame) {
  const own = listItems([tags], 'x52009230').slice(frame - 1, frame);
  const groups = [...own, ...listItems([tags], 'x52009229')];
  const values = groups.flatMap((group) =>
    ['x00289132', 'x00289145'].flatMap((name) => listItems([group], name)),
  );
  return [...values, tags];
}

/**
 * @param {DataSet[]} groups
 * @param {string} name
 */
export function findTag(groups, name) {
  return groups.find(({ elements }) => elements[name]) ?? groups[groups.length - 1];
}

/**
 * @param {DataSet[]} groups
 * @param {string} name of a sequence
 * @returns {DataSet[]}
 */
export function listItems(groups, name) {
  const items = findTag(groups, name).elements[name]?.items ?? [];
  return items.flatMap(({ dataSet }) => dataSet ?? []);
}

/**
 * @param {DataSet[]} groups
 * @param {string} name
 * @returns {number | undefined} the first number, of one or several in text
 */
export function readNumber(groups, name) {
  const text = findTag(groups, name).string(name, 0);
  if (!text) return undefined;
  const number = Number(text);
  if (Number.isNaN(number)) throw new Refusal('damaged DICOM file; save or copy it again.');
  return number;
}

/**
 * Checks a codestream's width, height, samples and bits against the tags.
 *
 * @param {Layout} layout
 * @param {number[]} found
 */
export function checkSame({ rows, columns, samples, stored }, found) {
  const told = [columns, rows, samples, stored];
  if (found.some((value, i) => value !== told[i])) {
    throw new Refusal(
      `tags say ${describe(told)}, but the compressed pixels are ${describe(found)}; ${AGAIN}`,
    );
  }
}

/** @param {number[]} layout */
function describe([columns, rows, samples, bits]) {
  return `${columns} x ${rows} pixels of ${samples} samples of ${bits} bits`;
}

/**
 * @template T
 * @param {T | undefined} value
 * @param {string} keyword
 */
function need(value, keyword) {
  if (value === undefined) {
    throw new Refusal(`the tag ${keyword} is missing; export the image again.`);
  }
  return value;
}

/** @param {Layout} layout */
function checkBits({ allocated, stored, high }) {
  if (![1, 8, 16].includes(allocated)) {
    throw new Refusal('pixels must be integers of 1, 8 or 16 bits allocated; convert the file.');
  }
  if (stored < 1 || stored > high + 1 || high + 1 > allocated) {
    throw new Refusal(
      `${stored} bits stored up to bit ${high} do not fit into ${allocated} bits allocated; ` +
        'export the image again.',
    );
  }
}

/**
 * @param {Layout} layout
 * @param {DataSet} tags
 */
function checkColour(layout, tags) {
  const { photometric, samples, isSigned, stored } = layout;
  const known = [...GREYS, ...COLOURS, PALETTE];
  if (!known.includes(photometric)) {
    throw new Refusal(`photometric interpretation is none of ${known.join(', ')}; convert the file.`);
  }
  if (samples !== (isColour(layout) ? 3 : 1)) {
    throw new Refusal(
      `${photometric} cannot have ${samples} samples a pixel; export the image again.`,
    );
  }
  if (isColour(layout) && (isSigned || stored < 8)) {
    throw new Refusal('colours must be unsigned, of 8 to 16 bits; convert the file.');
  }
  if (photometric.startsWith('YBR') && stored > 8) {
    throw new Refusal(`${photometric} must have 8 bits; convert the file to RGB.`);
  }
  if (photometric === 'MONOCHROME2' && tags.string('x20500020') === 'INVERSE') {
    throw new Refusal(
      'MONOCHROME2 and an inverse presentation LUT contradict each other; export the image again.',
    );
  }
  if (GREYS.includes(photometric) && ['COLOR', 'MIXED'].includes(tags.string('x00089205') ?? '')) {
    throw new Refusal('supplemental palettes are not supported; save it as RGB.');
  }
}
