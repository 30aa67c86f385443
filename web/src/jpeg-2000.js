/**
 * What a JPEG 2000 codestream in a DICOM file says of its pixels, against the tags: a port
 * of these checks in `keras_efsnet/images/dicom_pixels.py`.
 *
 * Reference: DICOM PS3.5, 8.2.4; ITU-T T.800, annex A and I.5.3.3 (`colr`).
 *
 * @typedef {import('./dicom-tags.js').Layout} Layout
 */

import { AGAIN, checkSame, isColour, Refusal } from './dicom-tags.js';

const [START, SIZE, CODING, TILE] = [0xff4f, 0xff51, 0xff52, 0xff90]; // markers
const [SRGB, SYCC] = [16, 18];

/**
 * Checks a codestream as Python does.
 *
 * @param {Uint8Array} content with or without the head of a JP2 file
 * @param {Layout} layout
 * @returns {Uint8Array} the bare codestream
 */
export function checkJpeg2000(content, layout) {
  const start = findStart(content);
  const view = new DataView(content.buffer, content.byteOffset + start);
  const { photometric, isSigned, stored } = layout;
  const components = readComponents(view);
  const [width, height] = [8, 12].map((at) => view.getUint32(at) - view.getUint32(at + 8));
  checkSame(layout, [width, height, components.length, (components[0][0] & 127) + 1]);
  const told = [(isSigned ? 128 : 0) | (stored - 1), 1, 1];
  if (components.some((component) => component.some((value, i) => value !== told[i]))) {
    throw new Refusal(`its JPEG 2000 has other samples than its tags say; ${AGAIN}`);
  }
  const { isTransformed, isReversible } = readCoding(view);
  if (photometric === 'PALETTE COLOR' && !isReversible) {
    throw new Refusal(`a lossy JPEG 2000 keeps no palette; ${AGAIN}`);
  }
  if (isColour(layout)) {
    if (stored > 8) throw new Refusal(`JPEG 2000 in colour must have 8 bits; ${AGAIN}`);
    checkColours(photometric, isTransformed, content.subarray(0, start));
  }
  return content.subarray(start);
}

/** @param {Uint8Array} content */
function findStart(content) {
  const wanted = [START >> 8, START & 255, SIZE >> 8, SIZE & 255];
  const start = content.findIndex((_, at) => wanted.every((byte, i) => content[at + i] === byte));
  if (start < 0) throw new Refusal(`not JPEG 2000 inside; ${AGAIN}`);
  return start;
}

/**
 * @param {DataView} view
 * @returns {number[][]} precision and sign, and sampling across and down, of each
 */
function readComponents(view) {
  return Array.from({ length: view.getUint16(40) }, (_, i) =>
    [0, 1, 2].map((part) => view.getUint8(42 + 3 * i + part)),
  );
}

/**
 * Whether the colours are transformed, and whether the wavelet is reversible.
 *
 * @param {DataView} view
 */
function readCoding(view) {
  let place = 2;
  let marker = view.getUint16(place);
  while (marker !== CODING && marker !== TILE) {
    place += 2 + view.getUint16(place + 2);
    marker = view.getUint16(place);
  }
  if (marker === TILE) throw new Refusal(`not JPEG 2000 inside; ${AGAIN}`);
  return {
    isTransformed: view.getUint8(place + 8) === 1,
    isReversible: view.getUint8(place + 13) === 1,
  };
}

/**
 * Checks that the codestream's colour transform and a JP2 file's head fit the tag.
 *
 * Undoing the transform gives RGB; YBR_RCT and YBR_ICT name the transform.
 *
 * @param {string} photometric
 * @param {boolean} isTransformed
 * @param {Uint8Array} head
 */
function checkColours(photometric, isTransformed, head) {
  const place = String.fromCharCode(...head).indexOf('colr\x01');
  const space = place < 0 ? null : new DataView(head.buffer, head.byteOffset + place).getUint32(7);
  const isYbr = ['YBR_FULL', 'YBR_FULL_422'].includes(photometric);
  const wanted = isYbr ? SYCC : SRGB;
  if ((isYbr && isTransformed) || (space !== null && space !== wanted)) {
    throw new Refusal(`tagged ${photometric}, but its JPEG 2000 says other colours; ${AGAIN}`);
  }
}
