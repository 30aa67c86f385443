/**
 * The black margins around a scan: a port of `keras_efsnet/images/margins.py`.
 *
 * @typedef {import('./images.js').Grey} Grey
 */

/** Highest grey level of a margin's pixels. */
const DARK = 5;

/**
 * @param {Grey} image
 * @returns {number} its first row that is no margin
 */
export function firstBrightRow({ width, pixels }) {
  const first = pixels.findIndex((level) => level > DARK);
  return first < 0 ? 0 : Math.floor(first / width);
}

/**
 * Empties a mask in the margins of the image that it belongs to.
 *
 * @param {Grey} mask of 0 and 1; changed in place
 * @param {Grey} image the same picture at any size
 */
export function emptyMargins(mask, image) {
  const rows = new Array(image.height).fill(false);
  const columns = new Array(image.width).fill(false);
  for (let row = 0; row < image.height; row++) {
    for (let column = 0; column < image.width; column++) {
      if (image.pixels[row * image.width + column] <= DARK) continue;
      rows[row] = true;
      columns[column] = true;
    }
  }
  if (!rows.includes(true)) return;
  const [top, bottom] = between(rows, mask.height);
  const [left, right] = between(columns, mask.width);
  for (let row = 0; row < mask.height; row++) {
    const line = mask.pixels.subarray(row * mask.width, (row + 1) * mask.width);
    const isInside = row >= top && row < bottom;
    line.fill(0, 0, isInside ? left : mask.width);
    line.fill(0, right);
  }
}

/**
 * @param {boolean[]} bright
 * @param {number} pixels
 */
function between(bright, pixels) {
  const first = bright.indexOf(true);
  const end = bright.lastIndexOf(true) + 1;
  const factor = pixels / bright.length;
  return [Math.floor(first * factor), Math.ceil(end * factor)];
}
