/** The controls of how the picture is drawn. */

import { find } from './page-parts.js';

const swipe = /** @type {HTMLInputElement} */ (find('swipe'));
const marking = /** @type {HTMLSelectElement} */ (find('marking'));
const opacity = /** @type {HTMLInputElement} */ (find('opacity'));
const callipers = /** @type {HTMLInputElement} */ (find('callipers'));
const sharp = /** @type {HTMLInputElement} */ (find('sharp'));

/** @returns {import('./picture.js').Look & {callipers: boolean}} */
export function readLook() {
  return {
    marking: marking.value,
    opacity: opacity.valueAsNumber,
    callipers: callipers.checked,
  };
}

/** @param {() => void} redraw draws the lesions of the shown image */
export function connectLook(redraw) {
  swipe.addEventListener('input', apply);
  sharp.addEventListener('input', apply);
  for (const control of [marking, opacity, callipers]) {
    control.addEventListener('input', () => {
      apply();
      redraw();
    });
  }
  apply();
}

/** Does what needs no drawing. */
function apply() {
  find('figure').style.setProperty('--shown', `${swipe.value}%`);
  find('picture').classList.toggle('sharp', sharp.checked);
  find('opacity-choice').hidden = marking.value !== 'fill';
}
