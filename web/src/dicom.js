/**
 * DICOM files as grey images: a port of `keras_efsnet/images/dicom.py`, for pixels that
 * are uncompressed, in RLE, JPEG of 8 bits or JPEG 2000.
 *
 * @typedef {import('dicom-parser').DataSet} DataSet
 * @typedef {import('./measurements.js').Region} Region
 */

import dicomParser from 'dicom-parser';

import { toDisplay } from './dicom-display.js';
import { isRead, readPixels } from './dicom-pixels.js';
import { AGAIN, countFrames, listGroups, listItems, readLayout, Refusal } from './dicom-tags.js';

const PRIVATE = 'unknown';

/** Transfer syntaxes that are not read here, and whether Python reads them. */
const OTHERS = /** @type {Record<string, [string, boolean]>} */ ({
  '1.2.840.10008.1.2.1.99': ['Deflated Explicit VR', false],
  '1.2.840.10008.1.2.2': ['Explicit VR Big Endian', true],
  '1.2.840.10008.1.2.4.57': ['JPEG Lossless', false],
  '1.2.840.10008.1.2.4.70': ['JPEG Lossless SV1', false],
  '1.2.840.10008.1.2.4.80': ['JPEG-LS Lossless', false],
  '1.2.840.10008.1.2.4.81': ['JPEG-LS Near-Lossless', false],
});

const [TWO_DIMENSIONAL, CENTIMETRES] = [1, 3]; // RegionSpatialFormat, PhysicalUnits
const IMAGES = [1, 2]; // RegionDataType: tissue, colour flow

/** RegionLocationMinX0, MinY0, MaxX1 and MaxY1. */
const EDGES = ['x00186018', 'x0018601a', 'x0018601c', 'x0018601e'];

/** @param {Uint8Array} bytes the file's first 132 at least */
export function hasMark(bytes) {
  return String.fromCharCode(...bytes.subarray(128, 132)) === 'DICM';
}

/**
 * Reads one frame.
 *
 * @param {Uint8Array} bytes of the file
 * @param {string} name for messages
 * @param {number} frame from 1
 * @param {import('./dicom-pixels.js').Decoders} decoders
 * @returns {Promise<import('./images.js').Grey & {regions: Region[], frames: number}>}
 *   `frames`: that the file has
 */
export async function readDicom(bytes, name, frame, decoders) {
  try {
    return await read(bytes, frame, decoders);
  } catch (error) {
    // The parser's own words can quote any value, such as a patient's name.
    const problem =
      error instanceof Refusal ? error.message : 'damaged DICOM file; save or copy it again.';
    throw new Error(`${name}: ${problem}`);
  }
}

/**
 * @param {Uint8Array} bytes
 * @param {number} frame
 * @param {import('./dicom-pixels.js').Decoders} decoders
 */
async function read(bytes, frame, decoders) {
  const syntax = readSyntax(bytes);
  const tags = dicomParser.parseDicom(bytes);
  const layout = readLayout(tags);
  const frames = countFrames(tags);
  // Even an empty compressed frame takes 8 bytes.
  if (!(frames >= 1 && frames <= bytes.length / 8)) {
    throw new Refusal(`damaged DICOM file: it cannot hold ${frames} frames; ${AGAIN}`);
  }
  const samples = await readPixels(tags, layout, syntax, frame, decoders);
  return {
    height: layout.rows,
    width: layout.columns,
    pixels: toDisplay(samples, layout, listGroups(tags, frame)),
    regions: listItems([tags], 'x00186011').map(readRegion),
    frames,
  };
}

/**
 * @param {Uint8Array} bytes
 * @returns {string} a transfer syntax that is read here
 */
function readSyntax(bytes) {
  const syntax = dicomParser.parseDicom(bytes, { untilTag: 'x00020010' }).string('x00020010') ?? PRIVATE;
  if (isRead(syntax)) return syntax;
  const [title, isForPython] = OTHERS[syntax] ?? ['of another kind', false];
  const way = isForPython ? '`efsnet predict` reads it.' : 'save it uncompressed.';
  throw new Refusal(`its transfer syntax, ${title} (${syntax}), is not read here; ${way}`);
}

/**
 * @param {DataSet} tags an item of SequenceOfUltrasoundRegions
 * @returns {Region}
 */
function readRegion(tags) {
  const [left, top, lastColumn, lastRow] = EDGES.map((name) => {
    const edge = tags.int32(name);
    if (edge === undefined) throw new Error(`no ${name}`);
    return edge;
  });
  return {
    left: Math.max(left, 0),
    top: Math.max(top, 0),
    right: lastColumn + 1,
    bottom: lastRow + 1,
    millimetres: readCalibration(tags),
  };
}

/**
 * @param {DataSet} region
 * @returns {Region['millimetres']}
 */
function readCalibration(region) {
  const units = ['x00186024', 'x00186026'].map((name) => region.uint16(name));
  // The delta is negative if the axis points against the pixels' order.
  const [x, y] = ['x0018602c', 'x0018602e'].map((name) => 10 * Math.abs(region.double(name) ?? 0));
  const isPlane = region.uint16('x00186012') === TWO_DIMENSIONAL;
  const isImage = IMAGES.includes(region.uint16('x00186014') ?? 0);
  const isInCentimetres = units.every((unit) => unit === CENTIMETRES);
  const isKnown = x * y > 0 && Number.isFinite(x * y);
  return isPlane && isImage && isInCentimetres && isKnown ? [x, y] : null;
}
