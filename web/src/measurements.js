/**
 * Measurements of lesions, in millimetres where the image is calibrated: a port of
 * `keras_efsnet/prediction/measurements.py`, which says what each one is.
 *
 * @typedef {import('./images.js').Grey} Grey
 * @typedef {import('./components.js').Box} Box
 * @typedef {import('./components.js').Run} Run
 * @typedef {import('./outline.js').Point} Point
 * @typedef {{
 *   left: number,
 *   top: number,
 *   right: number,
 *   bottom: number,
 *   millimetres: [width: number, height: number] | null,
 * }} Region
 *   A part of a DICOM frame that shows ultrasound; right and bottom are exclusive.
 *   `millimetres`: of a pixel; null if it is not calibrated.
 * @typedef {Grey & {regions?: Region[]}} Image
 * @typedef {{[key: string]: any, number: number, box: Box}} Lesion
 *   An entry of a record's `lesions`.
 * @typedef {{lesions?: Lesion[], lesion_area_mm2?: number | null}} Measures
 *   A record's entries: lesions in the order of the boxes and, where the image is
 *   calibrated, their area; none if the model has no mask.
 */

import { convexHull, distance, longestDiameter, perpendicularDiameter } from './diameters.js';
import { firstBrightRow } from './margins.js';
import { polygonArea, traceOutline } from './outline.js';
import { round } from './rounding.js';

/** Points of the outline whose mean is one point of the perimeter. */
const SMOOTHED = 5;

/**
 * @param {Image} image
 * @param {import('./prediction.js').Prediction} prediction of the image
 * @returns {Measures}
 */
export function measure(image, { area, boxes, components, probability }) {
  if (area === null) return {};
  const { regions = [] } = image;
  const skin = firstBrightRow(image);
  const lesions = boxes.map((box, at) => ({
    number: at + 1,
    ...measureLesion(components[at], box, skin, regions),
    mean_probability: round(meanOver(components[at], probability), 3),
  }));
  const isCalibrated = regions.some(({ millimetres }) => millimetres);
  return { ...(isCalibrated && { lesion_area_mm2: totalArea(lesions) }), lesions };
}

/**
 * @param {Lesion[]} lesions
 * @returns {number | null} in square millimetres; null if a lesion has none
 */
function totalArea(lesions) {
  if (lesions.some((lesion) => unitOf(lesion) !== 'mm')) return null;
  return round(lesions.reduce((sum, { area_mm2 }) => sum + area_mm2, 0), 2);
}

/**
 * @param {Lesion} lesion
 * @returns {'mm' | 'px'} the unit of its lengths
 */
export function unitOf(lesion) {
  return 'longest_diameter_mm' in lesion ? 'mm' : 'px';
}

/**
 * @param {Run[]} runs of the lesion
 * @param {Box} box
 * @param {number} skin first row of the scan, for lesions outside of all regions
 * @param {Region[]} regions
 */
function measureLesion(runs, box, skin, regions) {
  const [left, top, right, bottom] = box;
  const holding = regions.filter((region) => holds(region, box));
  const scale = findScale(box, regions);
  const unit = scale ? 'mm' : 'px';
  const [x, y] = scale ?? [1, 1];
  const start = holding.length ? Math.min(...holding.map((region) => region.top)) : skin;
  const outline = traceOutline(runs, box).map((point) => /** @type {Point} */ ([point[0] * x, point[1] * y]));
  const hull = convexHull(outline);
  const longest = longestDiameter(hull);
  const across = perpendicularDiameter(hull);
  const [width, height] = [(right - left) * x, (bottom - top) * y];
  const pixels = runs.reduce((sum, { start, end }) => sum + end - start, 0);
  const filled = polygonArea(outline);
  const points = (/** @type {Point[]} */ ends) =>
    ends.map((end) => [round(end[0] / x, 2), round(end[1] / y, 2)]);
  return {
    box,
    [`longest_diameter_${unit}`]: round(distance(...longest), 2),
    [`perpendicular_diameter_${unit}`]: round(distance(...across), 2),
    [`width_${unit}`]: round(width, 2),
    [`height_${unit}`]: round(height, 2),
    [`depth_${unit}`]: round(Math.max(top - start, 0) * y, 2),
    [scale ? 'area_mm2' : 'area_px']: round(pixels * x * y, 2),
    orientation: width > height ? 'parallel' : 'not parallel',
    circularity: round(circularity(outline, filled), 3),
    solidity: round(filled / polygonArea(hull), 3),
    longest_diameter_points: points(longest),
    perpendicular_diameter_points: points(across),
  };
}

/**
 * @param {Box} box
 * @param {Region[]} regions
 * @returns {Region['millimetres']} null unless a region holds the box and all that it
 *   touches have one calibration
 */
function findScale(box, regions) {
  const [first, ...others] = regions.filter((region) => touches(region, box));
  const isOne = others.every(({ millimetres }) => String(millimetres) === String(first.millimetres));
  return isOne && regions.some((region) => holds(region, box)) ? first.millimetres : null;
}

/**
 * @param {Region} region
 * @param {Box} box
 */
function holds(region, [left, top, right, bottom]) {
  const startsInside = region.left <= left && region.top <= top;
  return startsInside && right <= region.right && bottom <= region.bottom;
}

/**
 * @param {Region} region
 * @param {Box} box
 */
function touches(region, [left, top, right, bottom]) {
  const overlaps = left < region.right && region.left < right;
  return overlaps && top < region.bottom && region.top < bottom;
}

/**
 * @param {Point[]} outline
 * @param {number} area
 * @returns {number} 4 pi area / perimeter^2, 1 for a disc
 */
function circularity(outline, area) {
  const smooth = outline.map((_, at) => {
    let [x, y] = [0, 0];
    for (let shift = 0; shift < SMOOTHED; shift++) {
      const point = outline[(at + shift) % outline.length];
      x += point[0];
      y += point[1];
    }
    return /** @type {Point} */ ([x / SMOOTHED, y / SMOOTHED]);
  });
  const perimeter = smooth.reduce(
    (sum, point, at) => sum + distance(point, smooth[(at + 1) % smooth.length]),
    0,
  );
  return perimeter ? Math.min((4 * Math.PI * area) / perimeter ** 2, 1) : 1;
}

/**
 * @param {Run[]} runs
 * @param {import('./images.js').Probability} map
 */
function meanOver(runs, { width, values }) {
  let [sum, count] = [0, 0];
  for (const { row, start, end } of runs) {
    for (let column = start; column < end; column++) sum += values[row * width + column];
    count += end - start;
  }
  return sum / count;
}
