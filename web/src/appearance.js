/**
 * Whether an image looks like B-mode ultrasound: a port of `keras_efsnet/look.py`.
 *
 * @typedef {import('./images.js').Grey} Grey
 * @typedef {{mean: number[], inverse_covariance: number[][], maximum_distance: number}} Appearance
 *   From the card: where the statistics of the training images lie.
 * @typedef {{height: number, width: number, values: Float64Array}} Blocks
 */

const SCALES = 4;
const BANDS = 4;

/**
 * @param {Appearance} look
 * @param {Grey} image the network's input
 */
export function accepts(look, image) {
  return distance(look, image) <= look.maximum_distance;
}

/**
 * @param {Appearance} look
 * @param {Grey} image
 * @returns {number} Mahalanobis distance from the training images
 */
export function distance(look, image) {
  const apart = measure(image).map((value, at) => value - look.mean[at]);
  const square = sum(apart, (one, row) =>
    one * sum(apart, (other, column) => look.inverse_covariance[row][column] * other),
  );
  // Rounded numbers could give -1e-9.
  return Math.sqrt(Math.max(square, 0));
}

/**
 * The statistics that `look.measure` of Python lists, in its order.
 *
 * @param {Grey} image sides in multiples of 8, at least 32
 * @returns {number[]}
 */
export function measure(image) {
  /** @type {Blocks} */
  let blocks = { ...image, values: new Float64Array(image.pixels) };
  const numbers = [mean(blocks.values) / 255, compare(blocks, 1).equal];
  for (let scale = 0; scale < SCALES; scale++) {
    if (scale) blocks = halve(blocks);
    for (const step of [1, blocks.width]) {
      numbers.push(Math.log(compare(blocks, step).difference + 0.5));
    }
  }
  const { height, width } = blocks;
  const values = Array.from(blocks.values);
  for (let band = 0; band < BANDS; band++) {
    const [top, bottom] = [band, band + 1].map((edge) => Math.floor((height * edge) / BANDS));
    numbers.push(Math.log(mean(values.slice(top * width, bottom * width)) + 4));
  }
  const centre = mean(values);
  const deviation = Math.sqrt(mean(values.map((value) => (value - centre) ** 2)));
  return [...numbers, Math.log(deviation + 0.5)];
}

/**
 * Compares each value with its right neighbour (step 1) or the one below (step width).
 *
 * @param {Blocks} blocks
 * @param {number} step
 * @returns {{equal: number, difference: number}} the share of equal ones, and the mean
 */
function compare({ height, width, values }, step) {
  const columns = step === 1 ? width - 1 : width;
  const rows = step === 1 ? height : height - 1;
  let [equal, total] = [0, 0];
  for (let row = 0; row < rows; row++) {
    for (let at = row * width; at < row * width + columns; at++) {
      const difference = Math.abs(values[at] - values[at + step]);
      total += difference;
      if (difference === 0) equal++;
    }
  }
  return { equal: equal / (rows * columns), difference: total / (rows * columns) };
}

/**
 * @param {Blocks} blocks
 * @returns {Blocks} means over 2 x 2
 */
function halve({ height, width, values }) {
  const half = { height: height / 2, width: width / 2 };
  const means = new Float64Array(half.height * half.width);
  for (let row = 0; row < half.height; row++) {
    for (let column = 0; column < half.width; column++) {
      const at = 2 * row * width + 2 * column;
      const total = values[at] + values[at + 1] + values[at + width] + values[at + width + 1];
      means[row * half.width + column] = total / 4;
    }
  }
  return { ...half, values: means };
}

/** @param {ArrayLike<number>} values */
function mean(values) {
  return sum(values, (value) => value) / values.length;
}

/**
 * @param {ArrayLike<number>} values
 * @param {(value: number, at: number) => number} term
 */
function sum(values, term) {
  let total = 0;
  for (let at = 0; at < values.length; at++) total += term(values[at], at);
  return total;
}
