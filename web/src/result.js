/**
 * The words and bars beside the picture.
 *
 * @typedef {import('./prediction.js').Prediction} Prediction
 * @typedef {{
 *   labels?: string[],
 *   tasks?: string[],
 *   postprocess?: import('./prediction.js').Rules,
 *   metrics?: {external?: {mask: {missed: number}}},
 * }} Card
 *   What the page reads of a model's card.
 */

import { find } from './page-parts.js';
import { SHIPPED, THRESHOLD } from './prediction.js';
import { ADVICE, NOT_B_MODE } from './referral.js';
import { showMeasurements } from './table.js';

/**
 * What the outputs of a card's model mean.
 *
 * @param {Card} card
 */
export function readMeaning({ labels = SHIPPED.labels, tasks = SHIPPED.tasks }) {
  return { labels, tasks };
}

/**
 * Makes an empty bar for each class.
 *
 * @param {string[]} labels
 */
export function makeBars(labels) {
  const rows = labels.map((label) => {
    const [row, name, track] = ['li', 'span', 'span'].map((tag) => document.createElement(tag));
    row.dataset.label = label;
    name.textContent = label;
    track.className = 'track';
    track.ariaHidden = 'true';
    track.append(document.createElement('i'));
    row.append(name, track, document.createElement('b'));
    return row;
  });
  find('bars').replaceChildren(...rows);
}

/**
 * @param {Prediction} prediction
 * @param {boolean} isLive a screen reader is not told every frame
 */
export function showPrediction(prediction, isLive) {
  const { label, probabilities, area, mask, isEmptied, refer } = prediction;
  const summary = find('summary');
  summary.ariaLive = isLive ? 'off' : 'polite';
  const parts = [];
  if (label !== null) parts.push(`${label} ${percent(probabilities[label])}`);
  if (area !== null) {
    const share = percent(area / mask.pixels.length, 1);
    const none = isEmptied ? 'lesion removed from the mask' : 'no lesion marked';
    parts.push(area ? `lesion on ${share} of the image` : none);
  }
  summary.textContent = refer.includes(NOT_B_MODE)
    ? `${NOT_B_MODE}: class and mask mean little`
    : parts.join(', ');
  for (const row of find('bars').children) {
    const name = /** @type {HTMLElement} */ (row).dataset.label ?? '';
    row.classList.toggle('first', name === label);
    row.getElementsByTagName('i')[0].style.width = `${100 * probabilities[name]}%`;
    row.getElementsByTagName('b')[0].textContent = percent(probabilities[name]);
  }
}

/** Leaves no words and bars of an image. */
export function clearResult() {
  find('summary').ariaLive = 'polite';
  find('summary').textContent = 'No result.';
  for (const row of find('bars').children) {
    row.classList.remove('first');
    row.getElementsByTagName('i')[0].style.width = '0';
    row.getElementsByTagName('b')[0].textContent = '';
  }
  find('refer').hidden = true;
  showMeasurements([]);
  find('timing').textContent = '';
}

/**
 * @param {string[]} reasons for a person to look
 * @param {Card} card
 */
export function showRefer(reasons, card) {
  find('refer').hidden = false;
  find('refer').classList.toggle('raised', reasons.length > 0);
  const missed = card.metrics?.external?.mask.missed;
  const known =
    missed === undefined
      ? '.'
      : `: at a hospital without training images it missed ${percent(missed)} of the lesions.`;
  if (reasons.length) find('refer').replaceChildren('Refer to a person', listReasons(reasons));
  else find('refer').textContent = `No rule fired. The model can still be wrong${known}`;
}

/** @param {string[]} reasons */
function listReasons(reasons) {
  const list = document.createElement('ul');
  for (const reason of reasons) {
    const name = Object.assign(document.createElement('b'), { textContent: reason });
    const item = document.createElement('li');
    item.append(name, `: ${ADVICE[reason]}`);
    list.append(item);
  }
  return list;
}

/**
 * @param {number} milliseconds from grey image to prediction
 * @param {number} network of these, in the network
 * @param {string} runtime
 * @param {number} rate frames a second, 0 for a single image
 */
export function showTiming(milliseconds, network, runtime, rate) {
  const frames = rate ? `${rate.toFixed(1)} frames a second, ` : '';
  const times = `${milliseconds.toFixed(0)} ms an image, ${network.toFixed(0)} ms of it the network`;
  find('timing').textContent = `${frames}${times} (${runtime})`;
}

/** @param {number} threshold */
export function showThreshold(threshold) {
  const value = threshold.toFixed(2);
  const isOwn = threshold === THRESHOLD;
  find('threshold-label').textContent = isOwn
    ? `Threshold ${value}, the model's own`
    : `Threshold ${value}: not the calibrated ${THRESHOLD.toFixed(2)}`;
  find('threshold-label').classList.toggle('moved', !isOwn);
}

/**
 * @param {number} fraction
 * @param {number} [digits]
 */
export function percent(fraction, digits = 0) {
  return `${(100 * fraction).toFixed(digits)} %`;
}
