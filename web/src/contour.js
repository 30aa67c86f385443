/**
 * The border of a mask as `draw_overlay` of `keras_efsnet/prediction/overlay.py` draws it.
 *
 * @typedef {import('./images.js').Grey} Grey
 * @typedef {import('./components.js').Box} Box
 */

/** Red, green, blue. */
export const COLOUR = [255, 214, 0];

/** Past the image's edges is no lesion: one cut by the edge is closed there. */
const FRAME = 2;

/**
 * @param {Grey} mask of 0 and 1
 * @param {Box[]} boxes around all that is 1
 * @returns {Grey} of 0 and 1: 2 pixels wide, 3 in large images
 */
export function findContour(mask, boxes) {
  const { height, width } = mask;
  const pixels = new Uint8Array(height * width);
  if (!boxes.length) return { height, width, pixels };
  const [left, top, right, bottom] = enclose(boxes);
  const stride = right - left + 2 * FRAME;
  const inside = withoutSpecks(cutOut(mask, [left, top, right, bottom], stride), stride);
  const outside = inside.map((bit) => 1 - bit);
  const nearInside = grow(inside, stride, 1);
  const nearOutside = grow(outside, stride, Math.min(height, width) >= 400 ? 2 : 1);
  for (let row = Math.max(top - 1, 0); row < Math.min(bottom + 1, height); row++) {
    const start = (row - top + FRAME) * stride + FRAME - left;
    for (let column = Math.max(left - 1, 0); column < Math.min(right + 1, width); column++) {
      pixels[row * width + column] = nearInside[start + column] & nearOutside[start + column];
    }
  }
  return { height, width, pixels };
}

/**
 * @param {Box[]} boxes
 * @returns {Box}
 */
function enclose(boxes) {
  const corners = [0, 1, 2, 3].map((corner) => boxes.map((box) => box[corner]));
  const [lefts, tops, rights, bottoms] = corners;
  return [Math.min(...lefts), Math.min(...tops), Math.max(...rights), Math.max(...bottoms)];
}

/**
 * @param {Grey} mask
 * @param {Box} box
 * @param {number} stride pixels of a row with its frame
 */
function cutOut({ width, pixels }, [left, top, right, bottom], stride) {
  const framed = new Uint8Array((bottom - top + 2 * FRAME) * stride);
  for (let row = top; row < bottom; row++) {
    const line = pixels.subarray(row * width + left, row * width + right);
    framed.set(line, (row - top + FRAME) * stride + FRAME);
  }
  return framed;
}

/**
 * Removes single pixels and fills single holes, which have no contour.
 *
 * @param {Uint8Array} pixels
 * @param {number} stride
 */
function withoutSpecks(pixels, stride) {
  const cleaned = pixels.slice();
  for (let at = stride + 1; at < pixels.length - stride - 1; at++) {
    const [above, below] = [at - stride, at + stride];
    const sides = pixels[at - 1] + pixels[at + 1] + pixels[above] + pixels[below];
    const corners = pixels[above - 1] + pixels[above + 1] + pixels[below - 1] + pixels[below + 1];
    if (pixels[at] && sides + corners === 0) cleaned[at] = 0;
    else if (sides === 4) cleaned[at] = 1;
  }
  return cleaned;
}

/**
 * Sets each pixel with a 1 in the square of `radius` around it.
 *
 * @param {Uint8Array} pixels
 * @param {number} stride
 * @param {number} radius
 */
function grow(pixels, stride, radius) {
  for (let round = 0; round < radius; round++) {
    pixels = spread(spread(pixels, 1), stride);
  }
  return pixels;
}

/**
 * @param {Uint8Array} pixels
 * @param {number} step to the neighbours
 */
function spread(pixels, step) {
  const target = pixels.slice();
  for (let at = step; at < pixels.length - step; at++) {
    target[at] = pixels[at - step] | pixels[at] | pixels[at + step];
  }
  return target;
}
