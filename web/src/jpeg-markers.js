/**
 * What a JPEG codestream in a DICOM file says of its pixels, against the tags.
 *
 * Reference: ITU-T T.81, annex B; JFIF 1.02; ITU-T T.872, 6.5.3 (Adobe's marker).
 *
 * @typedef {import('./dicom-tags.js').Layout} Layout
 * @typedef {{
 *   frame?: DataView,
 *   isJfif: boolean,
 *   transform?: number,
 *   kept: Uint8Array[],
 * }} Markers
 *   `frame`: its header. `transform`: Adobe's. `kept`: all parts but those of
 *   applications that could turn the picture or change its colours.
 */

import { AGAIN, checkSame, isColour, Refusal } from './dicom-tags.js';

/**
 * Checks a codestream as Python does.
 *
 * @param {Uint8Array} codestream
 * @param {Layout} layout
 * @returns {Uint8Array} the JPEG that a browser decodes as libjpeg does
 */
export function checkJpeg(codestream, layout) {
  const markers = readMarkers(codestream);
  const { frame } = markers;
  if (!frame || frame.getUint8(0) !== 8) {
    throw new Refusal(`not a JPEG of 8 bits inside; ${AGAIN}`);
  }
  const { photometric, isSigned } = layout;
  checkSame(layout, [frame.getUint16(3), frame.getUint16(1), frame.getUint8(5), 8]);
  if (photometric === 'PALETTE COLOR' || isSigned) {
    throw new Refusal(`JPEG keeps no palette and no signed pixels; ${AGAIN}`);
  }
  if (isColour(layout)) checkColours(markers, frame, photometric);
  return join(markers.kept);
}

/**
 * @param {Uint8Array} codestream
 * @returns {Markers} of the first scan's head
 */
function readMarkers(codestream) {
  const view = new DataView(codestream.buffer, codestream.byteOffset, codestream.length);
  /** @type {Markers} */
  const found = { isJfif: false, kept: [codestream.subarray(0, 2)] };
  if (codestream[0] !== 0xff || codestream[1] !== 0xd8) return found;
  let place = 2;
  while (place + 4 <= codestream.length && codestream[place] === 0xff) {
    const marker = codestream[place + 1];
    const end = place + 2 + view.getUint16(place + 2);
    const name = String.fromCharCode(...codestream.subarray(place + 4, place + 9));
    const isJfif = marker === 0xe0 && name.startsWith('JFIF');
    const isAdobe = marker === 0xee && name === 'Adobe';
    // Baseline, extended and progressive.
    if (marker >= 0xc0 && marker <= 0xc2) found.frame = new DataView(view.buffer, view.byteOffset + place + 4);
    if (isJfif) found.isJfif = true;
    if (isAdobe) found.transform = codestream[place + 15];
    if (marker === 0xda) {
      found.kept.push(codestream.subarray(place));
      return found;
    }
    if (isJfif || isAdobe || (marker & 0xf0) !== 0xe0) found.kept.push(codestream.subarray(place, end));
    place = end;
  }
  return { isJfif: false, kept: [] };
}

/**
 * Checks that the codestream tells its colours, as libjpeg then decodes them.
 *
 * @param {Markers} markers
 * @param {DataView} frame
 * @param {string} photometric
 */
function checkColours({ isJfif, transform }, frame, photometric) {
  if (transform === 0 && !isJfif) return; // RGB, whatever the identifiers are
  const identifiers = [6, 9, 12].map((at) => frame.getUint8(at)).join();
  const told = new Set([
    ...(isJfif ? ['YBR'] : []),
    ...(transform === 0 ? ['RGB'] : transform === 1 ? ['YBR'] : []),
    ...(identifiers === '82,71,66' ? ['RGB'] : identifiers === '1,2,3' ? ['YBR'] : []),
  ]);
  if (!told.size && photometric.startsWith('YBR')) return; // as libjpeg takes it
  if (told.size !== 1) {
    const problem = told.size ? 'contradicts itself about' : 'does not tell';
    throw new Refusal(`its JPEG ${problem} its colours, RGB or YCbCr; ${AGAIN}`);
  }
}

/** @param {Uint8Array[]} parts */
function join(parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}
