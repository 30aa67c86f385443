/**
 * The measurements beside the picture.
 *
 * @typedef {import('./measurements.js').Lesion} Lesion
 */

import { find } from './page-parts.js';
import { unitOf } from './measurements.js';

/** @type {[string, (lesion: Lesion, unit: 'mm' | 'px') => string][]} */
const ROWS = [
  ['longest diameter', (lesion, unit) => length(lesion[`longest_diameter_${unit}`], unit)],
  ['perpendicular', (lesion, unit) => length(lesion[`perpendicular_diameter_${unit}`], unit)],
  ['width', (lesion, unit) => length(lesion[`width_${unit}`], unit)],
  ['height', (lesion, unit) => length(lesion[`height_${unit}`], unit)],
  ['depth', (lesion, unit) => length(lesion[`depth_${unit}`], unit)],
  ['area', ({ area_mm2, area_px }) => (area_px === undefined ? `${area_mm2.toFixed(1)} mm²` : `${area_px} px`)],
  ['orientation', ({ orientation }) => orientation],
  ['circularity', ({ circularity }) => circularity.toFixed(2)],
  ['solidity', ({ solidity }) => solidity.toFixed(2)],
  ['mean probability', ({ mean_probability }) => mean_probability.toFixed(2)],
];

/** @param {Lesion[]} lesions one column each; without any, no table */
export function showMeasurements(lesions) {
  find('measurements').hidden = lesions.length === 0;
  const head = makeRow('lesion', 'th', lesions.map(({ number }) => String(number)));
  const rows = ROWS.map(([name, cellOf]) =>
    makeRow(name, 'td', lesions.map((lesion) => cellOf(lesion, unitOf(lesion)))),
  );
  const table = document.createElement('table');
  table.append(head, ...rows);
  find('measurements').replaceChildren(table);
}

/**
 * @param {string} name
 * @param {'th' | 'td'} tag of the others
 * @param {string[]} texts
 */
function makeRow(name, tag, texts) {
  const row = document.createElement('tr');
  const scope = tag === 'th' ? 'col' : 'row';
  row.append(makeCell('th', name, scope), ...texts.map((text) => makeCell(tag, text, 'col')));
  return row;
}

/**
 * @param {'th' | 'td'} tag
 * @param {string} textContent
 * @param {string} scope of a heading
 */
function makeCell(tag, textContent, scope) {
  const cell = Object.assign(document.createElement(tag), { textContent });
  if (tag === 'th') cell.scope = scope;
  return cell;
}

/**
 * @param {number} value
 * @param {'mm' | 'px'} unit
 */
function length(value, unit) {
  return `${value.toFixed(unit === 'mm' ? 1 : 0)} ${unit}`;
}
