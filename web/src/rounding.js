/**
 * Rounds as Python does: a half to the even neighbour, where `toFixed` rounds it up.
 *
 * @param {number} value negative only by a rounding error
 * @param {number} digits after the point
 */
export function round(value, digits) {
  // A power of two is multiplied without an error, so this finds the halves exactly.
  const isHalf = (value * 2 ** (digits + 1)) % 2 === 1;
  const scale = 10 ** digits;
  // + 0 makes 0 of -0.
  return isHalf ? (2 * Math.round((value * scale) / 2)) / scale : Number(value.toFixed(digits)) + 0;
}
