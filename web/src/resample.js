/**
 * Pillow's antialiased bilinear resizing, the one that the network was trained with:
 * a triangle filter as wide as the step between pixels, first along rows, then along
 * columns. 8-bit images are summed in whole numbers of 1 / 2^22 and rounded after each
 * of the two passes, so every pixel comes out as in Pillow.
 *
 * @typedef {{first: number, weights: Float64Array}} Tap
 *   For a new pixel the `first` old one and the weights of those from there on.
 */

const BITS = 22;
const HALF = 2 ** (BITS - 1);

/**
 * @param {Uint8Array} pixels `height` rows of `width`
 * @param {number} height
 * @param {number} width
 * @param {number} newHeight
 * @param {number} newWidth
 * @returns {Uint8Array}
 */
export function resizeBytes(pixels, height, width, newHeight, newWidth) {
  const round = (/** @type {number} */ sum) =>
    Math.min(Math.max((sum + HALF) >> BITS, 0), 255);
  const taps = (/** @type {[number, number]} */ ...lengths) =>
    wholeNumbers(makeTaps(...lengths));
  return resize(pixels, height, width, newHeight, newWidth, taps, round);
}

/**
 * @param {Float32Array} values `height` rows of `width`
 * @param {number} height
 * @param {number} width
 * @param {number} newHeight
 * @param {number} newWidth
 * @returns {Float32Array}
 */
export function resizeFloats(values, height, width, newHeight, newWidth) {
  const keep = (/** @type {number} */ sum) => sum;
  return resize(values, height, width, newHeight, newWidth, makeTaps, keep);
}

/**
 * @template {Uint8Array | Float32Array} T
 * @param {T} source
 * @param {number} height
 * @param {number} width
 * @param {number} newHeight
 * @param {number} newWidth
 * @param {(length: number, newLength: number) => Tap[]} taps
 * @param {(sum: number) => number} finish
 * @returns {T}
 */
function resize(source, height, width, newHeight, newWidth, taps, finish) {
  const along = taps(width, newWidth);
  const down = taps(height, newHeight);
  // Pillow 13's order of the passes, which each round.
  if (height > newHeight && height - newHeight > 2 * (width - newWidth)) {
    const flat = alongColumns(source, width, down, newHeight, finish);
    return alongRows(flat, width, along, newWidth, finish);
  }
  const narrow = alongRows(source, width, along, newWidth, finish);
  return alongColumns(narrow, newWidth, down, newHeight, finish);
}

/**
 * @param {number} length pixels there are
 * @param {number} newLength pixels wanted
 * @returns {Tap[]}
 */
function makeTaps(length, newLength) {
  const scale = length / newLength;
  const reach = Math.max(scale, 1);
  return Array.from({ length: newLength }, (_, pixel) => {
    const centre = (pixel + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - reach + 0.5), 0);
    const end = Math.min(Math.trunc(centre + reach + 0.5), length);
    const weights = new Float64Array(end - first).map((_, tap) => {
      const distance = Math.abs((tap + first - centre + 0.5) * (1 / reach));
      return Math.max(1 - distance, 0);
    });
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

/**
 * @param {Tap[]} taps
 * @returns {Tap[]} with weights in 1 / 2^22
 */
function wholeNumbers(taps) {
  return taps.map(({ first, weights }) => ({
    first,
    weights: weights.map((weight) => Math.trunc(0.5 + weight * 2 ** BITS)),
  }));
}

/**
 * @template {Uint8Array | Float32Array} T
 * @param {T} source
 * @param {number} width of the source
 * @param {Tap[]} taps
 * @param {number} newWidth
 * @param {(sum: number) => number} finish
 * @returns {T}
 */
function alongRows(source, width, taps, newWidth, finish) {
  const height = source.length / width;
  const target = emptyLike(source, height * newWidth);
  taps.forEach(({ first, weights }, column) => {
    for (let row = 0; row < height; row++) {
      const start = row * width + first;
      let sum = 0;
      for (let tap = 0; tap < weights.length; tap++) sum += source[start + tap] * weights[tap];
      target[row * newWidth + column] = finish(sum);
    }
  });
  return target;
}

/**
 * @template {Uint8Array | Float32Array} T
 * @param {T} source
 * @param {number} width of source and target
 * @param {Tap[]} taps
 * @param {number} newHeight
 * @param {(sum: number) => number} finish
 * @returns {T}
 */
function alongColumns(source, width, taps, newHeight, finish) {
  const target = emptyLike(source, newHeight * width);
  const sums = new Float64Array(width);
  taps.forEach(({ first, weights }, row) => {
    sums.fill(0);
    for (let tap = 0; tap < weights.length; tap++) {
      const start = (first + tap) * width;
      const weight = weights[tap];
      for (let column = 0; column < width; column++) {
        sums[column] += source[start + column] * weight;
      }
    }
    for (let column = 0; column < width; column++) {
      target[row * width + column] = finish(sums[column]);
    }
  });
  return target;
}

/**
 * @template {Uint8Array | Float32Array} T
 * @param {T} pixels
 * @param {number} length
 * @returns {T}
 */
function emptyLike(pixels, length) {
  return /** @type {T} */ (
    pixels instanceof Uint8Array ? new Uint8Array(length) : new Float32Array(length)
  );
}
