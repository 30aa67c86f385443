/**
 * Pillow's antialiased bilinear resizing, the one that the network was trained with:
 * a triangle filter as wide as the step between pixels, first along rows, then along
 * columns. 8-bit images are summed in whole numbers of 1 / 2^22 and rounded after each
 * of the two passes, so every pixel comes out as in Pillow.
 *
 * @typedef {{count: number, first: Int32Array, weights: Float64Array}} Taps
 *   For each new pixel the `first` old one and the weights of the `count` from there on.
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
 * @param {(length: number, newLength: number) => Taps} taps
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
 * @returns {Taps}
 */
function makeTaps(length, newLength) {
  const scale = length / newLength;
  const reach = Math.max(scale, 1);
  const count = 2 * Math.ceil(reach) + 1;
  const first = new Int32Array(newLength);
  const weights = new Float64Array(newLength * count);
  for (let pixel = 0; pixel < newLength; pixel++) {
    const centre = (pixel + 0.5) * scale;
    const start = Math.max(Math.trunc(centre - reach + 0.5), 0);
    const end = Math.min(Math.trunc(centre + reach + 0.5), length);
    let sum = 0;
    for (let tap = 0; tap < end - start; tap++) {
      const distance = Math.abs((tap + start - centre + 0.5) * (1 / reach));
      const weight = Math.max(1 - distance, 0);
      weights[pixel * count + tap] = weight;
      sum += weight;
    }
    for (let tap = 0; tap < end - start; tap++) weights[pixel * count + tap] /= sum;
    first[pixel] = start;
  }
  return { count, first, weights };
}

/**
 * @param {Taps} taps
 * @returns {Taps} with weights in 1 / 2^22
 */
function wholeNumbers({ count, first, weights }) {
  return {
    count,
    first,
    weights: weights.map((weight) => Math.trunc(0.5 + weight * 2 ** BITS)),
  };
}

/**
 * @template {Uint8Array | Float32Array} T
 * @param {T} source
 * @param {number} width of the source
 * @param {Taps} taps
 * @param {number} newWidth
 * @param {(sum: number) => number} finish
 * @returns {T}
 */
function alongRows(source, width, { count, first, weights }, newWidth, finish) {
  const height = source.length / width;
  const target = emptyLike(source, height * newWidth);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < newWidth; column++) {
      const start = first[column];
      const used = Math.min(count, width - start);
      let sum = 0;
      for (let tap = 0; tap < used; tap++) {
        sum += source[row * width + start + tap] * weights[column * count + tap];
      }
      target[row * newWidth + column] = finish(sum);
    }
  }
  return target;
}

/**
 * @template {Uint8Array | Float32Array} T
 * @param {T} source
 * @param {number} width of source and target
 * @param {Taps} taps
 * @param {number} newHeight
 * @param {(sum: number) => number} finish
 * @returns {T}
 */
function alongColumns(source, width, { count, first, weights }, newHeight, finish) {
  const height = source.length / width;
  const target = emptyLike(source, newHeight * width);
  for (let row = 0; row < newHeight; row++) {
    const start = first[row];
    const used = Math.min(count, height - start);
    for (let column = 0; column < width; column++) {
      let sum = 0;
      for (let tap = 0; tap < used; tap++) {
        sum += source[(start + tap) * width + column] * weights[row * count + tap];
      }
      target[row * width + column] = finish(sum);
    }
  }
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
