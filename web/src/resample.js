/**
 * Pillow's antialiased bilinear resizing, the one that the network was trained with:
 * a triangle filter as wide as the step between pixels, first along rows, then along
 * columns. 8-bit images are summed in whole numbers of 1 / 2^22 and rounded after each
 * of the two passes, so every pixel comes out as in Pillow.
 *
 * @typedef {{
 *   first: Int32Array,
 *   past: Int32Array,
 *   weights: Float64Array,
 *   stride: number,
 * }} Taps
 *   For each new pixel the old ones from `first` to before `past`; their weights begin at
 *   `stride` times the new pixel.
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
  const stride = 2 * Math.ceil(reach) + 1;
  const first = new Int32Array(newLength);
  const past = new Int32Array(newLength);
  const weights = new Float64Array(newLength * stride);
  for (let pixel = 0; pixel < newLength; pixel++) {
    const centre = (pixel + 0.5) * scale;
    first[pixel] = Math.max(Math.trunc(centre - reach + 0.5), 0);
    past[pixel] = Math.min(Math.trunc(centre + reach + 0.5), length);
    const own = weights.subarray(pixel * stride, pixel * stride + past[pixel] - first[pixel]);
    let sum = 0;
    for (let tap = 0; tap < own.length; tap++) {
      const distance = Math.abs((tap + first[pixel] - centre + 0.5) * (1 / reach));
      own[tap] = Math.max(1 - distance, 0);
      sum += own[tap];
    }
    for (let tap = 0; tap < own.length; tap++) own[tap] /= sum;
  }
  return { first, past, weights, stride };
}

/**
 * @param {Taps} taps
 * @returns {Taps} with weights in 1 / 2^22
 */
function wholeNumbers(taps) {
  const weights = taps.weights.map((weight) => Math.trunc(0.5 + weight * 2 ** BITS));
  return { ...taps, weights };
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
function alongRows(source, width, { first, past, weights, stride }, newWidth, finish) {
  const height = source.length / width;
  const target = emptyLike(source, height * newWidth);
  for (let row = 0; row < height; row++) {
    const start = row * width;
    for (let column = 0; column < newWidth; column++) {
      let weight = column * stride;
      let sum = 0;
      for (let at = start + first[column]; at < start + past[column]; at++) {
        sum += source[at] * weights[weight++];
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
function alongColumns(source, width, { first, past, weights, stride }, newHeight, finish) {
  const target = emptyLike(source, newHeight * width);
  const sums = new Float64Array(width);
  for (let row = 0; row < newHeight; row++) {
    sums.fill(0);
    for (let old = first[row]; old < past[row]; old++) {
      const weight = weights[row * stride + old - first[row]];
      const start = old * width;
      for (let column = 0; column < width; column++) {
        sums[column] += source[start + column] * weight;
      }
    }
    for (let column = 0; column < width; column++) {
      target[row * width + column] = finish(sums[column]);
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
