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
  const taps = (/** @type {[number, number]} */ ...lengths) =>
    wholeNumbers(makeTaps(...lengths));
  return resize(pixels, height, width, newHeight, newWidth, taps, roundSums);
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
  const store = (/** @type {Float64Array} */ sums) => new Float32Array(sums);
  return resize(values, height, width, newHeight, newWidth, makeTaps, store);
}

/** @param {Float64Array} sums */
function roundSums(sums) {
  const bytes = new Uint8Array(sums.length);
  for (let at = 0; at < sums.length; at++) {
    bytes[at] = Math.min(Math.max((sums[at] + HALF) >> BITS, 0), 255);
  }
  return bytes;
}

/**
 * The passes themselves only see doubles: with one kind of numbers they run several times
 * as fast.
 *
 * @template {Uint8Array | Float32Array} T
 * @param {T} source
 * @param {number} height
 * @param {number} width
 * @param {number} newHeight
 * @param {number} newWidth
 * @param {(length: number, newLength: number) => Taps} taps
 * @param {(sums: Float64Array) => T} store rounds what a pass has summed
 * @returns {T}
 */
function resize(source, height, width, newHeight, newWidth, taps, store) {
  const along = taps(width, newWidth);
  const down = taps(height, newHeight);
  const toRows = (/** @type {T} */ pixels) =>
    store(alongRows(new Float64Array(pixels), width, along, newWidth));
  const toColumns = (/** @type {T} */ pixels, /** @type {number} */ stride) =>
    store(alongColumns(new Float64Array(pixels), stride, down, newHeight));
  // Pillow 13's order of the passes, which each round.
  const isColumnsFirst = height > newHeight && height - newHeight > 2 * (width - newWidth);
  return isColumnsFirst ? toRows(toColumns(source, width)) : toColumns(toRows(source), newWidth);
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
 * @param {Float64Array} source
 * @param {number} width of the source
 * @param {Taps} taps
 * @param {number} newWidth
 */
function alongRows(source, width, { first, past, weights, stride }, newWidth) {
  const height = source.length / width;
  const target = new Float64Array(height * newWidth);
  for (let row = 0; row < height; row++) {
    const start = row * width;
    for (let column = 0; column < newWidth; column++) {
      let weight = column * stride;
      let sum = 0;
      for (let at = start + first[column]; at < start + past[column]; at++) {
        sum += source[at] * weights[weight++];
      }
      target[row * newWidth + column] = sum;
    }
  }
  return target;
}

/**
 * @param {Float64Array} source
 * @param {number} width of source and target
 * @param {Taps} taps
 * @param {number} newHeight
 */
function alongColumns(source, width, { first, past, weights, stride }, newHeight) {
  const target = new Float64Array(newHeight * width);
  for (let row = 0; row < newHeight; row++) {
    for (let old = first[row]; old < past[row]; old++) {
      const weight = weights[row * stride + old - first[row]];
      const [from, to] = [old * width, row * width];
      for (let column = 0; column < width; column++) {
        target[to + column] += source[from + column] * weight;
      }
    }
  }
  return target;
}
