/**
 * The two diameters of an outline, from border to border of its convex hull: a port of
 * their part of `keras_efsnet/prediction/measurements.py`.
 *
 * @typedef {import('./outline.js').Point} Point
 */

/** Directions of half a circle, one per degree. */
const WAYS = Array.from({ length: 180 }, (_, degree) => {
  const angle = degree * (Math.PI / 180);
  return [Math.cos(angle), Math.sin(angle)];
});

/** Lengths that differ less are equal: rounding errors must not choose among them. */
const TIE = 1e-9;

/**
 * @param {Point[]} points
 * @returns {Point[]} those that lie farthest in each direction, clockwise
 */
export function convexHull(points) {
  const ends = rowEnds(points);
  const extremes = WAYS.map((way) => farthest(ends, way));
  const places = [...extremes.map(({ most }) => most), ...extremes.map(({ least }) => least)];
  return places.filter((place, at) => place !== places.at(at - 1)).map((place) => ends[place]);
}

/**
 * @param {Point[]} hull
 * @returns {[Point, Point]} the two points that are farthest apart, from left to right
 */
export function longestDiameter(hull) {
  const { least, most } = firstWidest(WAYS.map((way) => farthest(hull, way)));
  const [one, other] = [hull[least], hull[most]];
  const isInOrder = one[0] === other[0] ? one[1] < other[1] : one[0] < other[0];
  return isInOrder ? [one, other] : [other, one];
}

/**
 * @param {Point[]} hull
 * @returns {[Point, Point]} the ends of the longest line in the hull at right angles to
 *   its longest diameter
 */
export function perpendicularDiameter(hull) {
  const [start, end] = longestDiameter(hull);
  const length = distance(start, end);
  const along = [(end[0] - start[0]) / length, (end[1] - start[1]) / length];
  const across = [-along[1], along[0]];
  const turned = hull
    .map((point) => [point[0] - start[0], point[1] - start[1]])
    .map((point) => /** @type {Point} */ ([dot(point, along), dot(point, across)]))
    .sort(([one], [other]) => one - other);
  // The diameter's own ends belong to both sides, whatever their rounding error.
  const sides = [turned.filter(([, v]) => v <= TIE), turned.filter(([, v]) => v >= -TIE)];
  const lines = turned.map(([u]) => {
    const [low, high] = sides.map((side) => interpolate(u, side));
    return { u, low, high, width: high - low };
  });
  const { u, low, high } = firstWidest(lines);
  const place = (/** @type {number} */ v) =>
    /** @type {Point} */ ([0, 1].map((axis) => start[axis] + u * along[axis] + v * across[axis]));
  return [place(low), place(high)];
}

/**
 * @param {Point} one
 * @param {Point} other
 */
export function distance(one, other) {
  return Math.hypot(other[0] - one[0], other[1] - one[1]);
}

/**
 * The first and the last point of each row: the hull has no others.
 *
 * @param {Point[]} points
 */
function rowEnds(points) {
  /** @type {Map<number, {first: Point, last: Point}>} */
  const rows = new Map();
  for (const point of points) {
    const row = rows.get(point[1]);
    if (!row) rows.set(point[1], { first: point, last: point });
    else if (point[0] < row.first[0]) row.first = point;
    else if (point[0] > row.last[0]) row.last = point;
  }
  const sorted = [...rows.values()].sort((one, other) => one.first[1] - other.first[1]);
  return sorted.flatMap(({ first, last }) => (first === last ? [first] : [first, last]));
}

/**
 * The places of the points that lie farthest in a direction and against it.
 *
 * @param {Point[]} points
 * @param {number[]} way
 */
function farthest(points, [cosine, sine]) {
  let [least, most] = [0, 0];
  let [low, high] = [Infinity, -Infinity];
  for (let place = 0; place < points.length; place++) {
    const along = points[place][0] * cosine + points[place][1] * sine;
    if (along < low) [low, least] = [along, place];
    if (along > high) [high, most] = [along, place];
  }
  return { least, most, width: high - low };
}

/**
 * @template {{width: number}} T
 * @param {T[]} lines
 */
function firstWidest(lines) {
  const most = Math.max(...lines.map(({ width }) => width));
  return /** @type {T} */ (lines.find(({ width }) => width >= most - TIE));
}

/**
 * @param {number} u
 * @param {Point[]} line sorted by its first coordinate
 * @returns {number} the line's second coordinate there, that of its nearer end outside
 */
function interpolate(u, line) {
  const after = line.findIndex(([place]) => place > u);
  if (after < 0) return line[line.length - 1][1];
  if (after === 0) return line[0][1];
  const [[fromU, fromV], [toU, toV]] = line.slice(after - 1, after + 1);
  return ((toV - fromV) / (toU - fromU)) * (u - fromU) + fromV;
}

/**
 * @param {number[]} one
 * @param {number[]} other
 */
function dot(one, other) {
  return one[0] * other[0] + one[1] * other[1];
}
