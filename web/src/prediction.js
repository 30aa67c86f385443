/**
 * What the network says about an image: a port of `keras_efsnet/prediction.py`.
 *
 * @typedef {import('./images.js').Grey} Grey
 * @typedef {import('./images.js').Probability} Probability
 * @typedef {import('./components.js').Box} Box
 * @typedef {{
 *   minimum_lesion_fraction?: number,
 *   normal_gate?: number | null,
 *   refer?: import('./referral.js').ReferralRule | null,
 * }} Rules
 *   The card's `postprocess`; those it lacks are off.
 * @typedef {{mask: Probability, classes: Float32Array}} Outputs
 * @typedef {{
 *   mask: Grey,
 *   label: string,
 *   probabilities: Record<string, number>,
 *   area: number,
 *   boxes: Box[],
 *   isEmptied: boolean,
 *   refer: string[],
 * }} Prediction
 *   `isEmptied`: the normal gate removed a lesion from the mask.
 *   `refer`: why a person should look; empty where no rule fired.
 */

import { splitComponents } from './components.js';
import { resizeProbability } from './images.js';
import { emptyMargins } from './margins.js';
import { findReasons, maskMargin } from './referral.js';

export const LABELS = ['normal', 'benign', 'malignant'];

/** The cut of every calibrated model. */
export const THRESHOLD = 0.5;

/**
 * Turns the network's output for one image into a prediction.
 *
 * @param {Outputs} outputs
 * @param {{height: number, width: number}} size the image's own
 * @param {Rules} rules
 * @param {Grey} [image] the network's input, for its margins and the refer rule
 * @param {number} [threshold] only for looking; predictions are made at 0.5
 * @returns {Prediction}
 */
export function postprocess(outputs, size, rules, image, threshold = THRESHOLD) {
  const { mask, classes } = outputs;
  const probabilities = Object.fromEntries(LABELS.map((label, i) => [label, classes[i]]));
  const { values } = resizeProbability(mask, size.height, size.width);
  const pixels = new Uint8Array(values.length);
  for (let at = 0; at < pixels.length; at++) pixels[at] = values[at] > threshold ? 1 : 0;
  const lesion = { height: size.height, width: size.width, pixels };
  if (image) emptyMargins(lesion, image);
  const minimumArea = (rules.minimum_lesion_fraction ?? 0) * pixels.length;
  const found = splitComponents(lesion, minimumArea);
  const label = LABELS[classes.indexOf(Math.max(...classes))];
  const isGated = label === 'normal' && probabilities.normal >= (rules.normal_gate ?? Infinity);
  const isLesionFound = found.boxes.length > 0;
  const margin = maskMargin(mask.values);
  const facts = { label, probabilities, margin, isLesionFound, image };
  const refer = rules.refer ? findReasons(rules.refer, facts) : [];
  const isEmptied = isGated && isLesionFound;
  return { ...(isGated ? emptied(found.mask) : found), label, probabilities, isEmptied, refer };
}

/**
 * @param {Grey} mask for the size
 * @returns {Pick<Prediction, 'mask' | 'area' | 'boxes'>}
 */
function emptied({ height, width }) {
  return { mask: { height, width, pixels: new Uint8Array(height * width) }, area: 0, boxes: [] };
}

/**
 * The facts under the keys of predictions.json.
 *
 * @param {Prediction} prediction
 * @param {number} milliseconds
 */
export function toRecord(prediction, milliseconds) {
  const { mask, label, probabilities, area, boxes, isEmptied, refer } = prediction;
  const rounded = Object.entries(probabilities).map(([k, p]) => [k, round(p, 6)]);
  return {
    class: label,
    probabilities: Object.fromEntries(rounded),
    lesion_area_px: area,
    lesion_fraction: round(area / mask.pixels.length, 6),
    boxes,
    mask_emptied: isEmptied,
    refer,
    milliseconds: round(milliseconds, 2),
  };
}

/**
 * @param {number} value
 * @param {number} digits
 */
function round(value, digits) {
  return Number(value.toFixed(digits));
}
