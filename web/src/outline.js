/**
 * The outline of a connected component: a port of `keras_efsnet/prediction/polygons.py`.
 *
 * @typedef {import('./components.js').Box} Box
 * @typedef {import('./components.js').Run} Run
 * @typedef {[x: number, y: number]} Point pixel `(0, 0)` covers 0 to 1
 */

/** Steps along the pixels' borders, clockwise: right, down, left, up. */
const STEPS = [
  [1, 0],
  [0, 1],
  [-1, 0],
  [0, -1],
];

/**
 * Goes once around an 8-connected component, without its holes.
 *
 * @param {Run[]} runs of the component, in reading order
 * @param {Box} box around it
 * @returns {Point[]} the middle of each pixel's border in order, clockwise, from the
 *   upper side of the first pixel
 */
export function traceOutline(runs, [left, top, right, bottom]) {
  const stride = right - left + 2;
  const inside = paint(runs, left - 1, top - 1, stride, bottom - top + 2);
  // From a corner to the pixels around it, clockwise from the upper right one.
  const around = [-stride, 0, -1, -stride - 1];
  const moves = STEPS.map(([x, y]) => y * stride + x);
  let x = runs[0].start;
  let y = top;
  let at = stride + x - left + 1;
  let way = 0;
  const first = at;
  /** @type {Point[]} */
  const points = [];
  do {
    const [stepX, stepY] = STEPS[way];
    points.push([x + stepX / 2, y + stepY / 2]);
    x += stepX;
    y += stepY;
    at += moves[way];
    // The left turn comes first: it joins pixels that touch at a corner.
    if (inside[at + around[way]]) way = (way + 3) % 4;
    else if (!inside[at + around[(way + 1) % 4]]) way = (way + 1) % 4;
  } while (at !== first || way !== 0);
  return points;
}

/**
 * @param {Point[]} points of a polygon, clockwise
 * @returns {number} its area
 */
export function polygonArea(points) {
  let [lastX, lastY] = points[points.length - 1];
  let twice = 0;
  for (const [x, y] of points) {
    twice += lastX * y - lastY * x;
    [lastX, lastY] = [x, y];
  }
  return twice / 2;
}

/**
 * @param {Run[]} runs
 * @param {number} left column of the first pixel
 * @param {number} top
 * @param {number} stride
 * @param {number} height
 */
function paint(runs, left, top, stride, height) {
  const pixels = new Uint8Array(stride * height);
  for (const { row, start, end } of runs) {
    const line = (row - top) * stride - left;
    pixels.fill(1, line + start, line + end);
  }
  return pixels;
}
