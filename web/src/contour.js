/**
 * The border of a mask as `draw_overlay` of `keras_efsnet/prediction.py` draws it.
 *
 * @typedef {import('./images.js').Grey} Grey
 * @typedef {import('./components.js').Box} Box
 */

/** Red, green, blue. */
export const COLOUR = [255, 214, 0];

/**
 * @param {Grey} mask of 0 and 1
 * @param {Box[]} boxes around all that is 1
 * @returns {Grey} of 0 and 1: 2 pixels wide, 3 in large images
 */
export function findContour(mask, boxes) {
  const { height, width } = mask;
  const inwards = Math.min(height, width) >= 400 ? 2 : 1;
  const pixels = new Uint8Array(height * width);
  for (const [left, top, right, bottom] of boxes) {
    for (let row = Math.max(top - 1, 0); row < Math.min(bottom + 1, height); row++) {
      for (let column = Math.max(left - 1, 0); column < Math.min(right + 1, width); column++) {
        const isBorder = isNear(mask, row, column, 1, 1) && isNear(mask, row, column, inwards, 0);
        if (isBorder) pixels[row * width + column] = 1;
      }
    }
  }
  return { height, width, pixels };
}

/**
 * Whether `bit` lies in the square of `radius` around a pixel. Past the image's edges
 * are zeros, so that a lesion cut by the edge is closed there.
 *
 * @param {Grey} mask
 * @param {number} row
 * @param {number} column
 * @param {number} radius
 * @param {0 | 1} bit
 */
function isNear({ height, width, pixels }, row, column, radius, bit) {
  for (let y = row - radius; y <= row + radius; y++) {
    for (let x = column - radius; x <= column + radius; x++) {
      const isInside = y >= 0 && x >= 0 && y < height && x < width;
      if ((isInside ? pixels[y * width + x] : 0) === bit) return true;
    }
  }
  return false;
}
