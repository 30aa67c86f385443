/**
 * Both diameters of each lesion as `draw_overlay` of `keras_efsnet/prediction/overlay.py`
 * draws them: a dotted line between two crosses.
 *
 * @typedef {import('./images.js').Grey} Grey
 * @typedef {import('./outline.js').Point} Point
 */

import { distance } from './diameters.js';

/** Red, green, blue. */
export const COLOUR = [0, 229, 255];

/** The value of their pixels. */
export const CALLIPER = 2;

/**
 * @param {Grey} marks changed in place: 2 at the callipers' pixels
 * @param {import('./measurements.js').Lesion[]} lesions
 */
export function markCallipers(marks, lesions) {
  for (const lesion of lesions) {
    markCalliper(marks, lesion.longest_diameter_points);
    markCalliper(marks, lesion.perpendicular_diameter_points);
  }
}

/**
 * @param {Grey} marks
 * @param {[Point, Point]} points
 */
function markCalliper(marks, points) {
  // Pixel (0, 0) covers 0 to 1, and its middle is drawn.
  const [start, end] = points.map(([x, y]) => /** @type {Point} */ ([x - 0.5, y - 0.5]));
  const arm = Math.max(Math.min(marks.height, marks.width) / 60, 2);
  const dots = Math.max(Math.trunc(distance(start, end) / arm), 1);
  for (let dot = 1; dot < dots; dot++) {
    const [x, y] = [0, 1].map((axis) => start[axis] + (dot / dots) * (end[axis] - start[axis]));
    mark(marks, x, y);
  }
  for (const [x, y] of [start, end]) {
    for (let at = Math.trunc(x - arm); at <= Math.trunc(x + arm); at++) mark(marks, at, y);
    for (let at = Math.trunc(y - arm); at <= Math.trunc(y + arm); at++) mark(marks, x, at);
  }
}

/**
 * @param {Grey} marks
 * @param {number} x
 * @param {number} y
 */
function mark({ height, width, pixels }, x, y) {
  const [column, row] = [Math.trunc(x), Math.trunc(y)];
  if (column >= 0 && column < width && row >= 0 && row < height) pixels[row * width + column] = CALLIPER;
}
