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
 * @typedef {{labels: string[], tasks: string[]}} Meaning
 *   What the outputs mean: the names of the classes, none if no class was trained, and
 *   the outputs that were trained.
 * @typedef {{mask: Probability, classes: Float32Array}} Outputs
 * @typedef {{
 *   mask: Grey,
 *   label: string | null,
 *   probabilities: Record<string, number>,
 *   area: number | null,
 *   boxes: Box[],
 *   components: import('./components.js').Run[][],
 *   probability: Probability,
 *   isEmptied: boolean,
 *   refer: string[],
 * }} Prediction
 *   `label`: null without classes. `area`: null without a mask. `components`: the mask's,
 *   in the order of `boxes`. `probability`: of lesion, before postprocessing.
 *   `isEmptied`: the normal gate removed a lesion from the mask.
 *   `refer`: why a person should look; empty where no rule fired.
 */

import { splitComponents } from './components.js';
import { resizeProbability } from './images.js';
import { emptyMargins } from './margins.js';
import { findReasons, maskMargin } from './referral.js';
import { round } from './rounding.js';

/** @type {Meaning} of a card without labels */
export const SHIPPED = { labels: ['normal', 'benign', 'malignant'], tasks: ['mask', 'class'] };

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
 * @param {Meaning} [meaning]
 * @returns {Prediction}
 */
export function postprocess(
  outputs,
  size,
  rules,
  image,
  threshold = THRESHOLD,
  { labels, tasks } = SHIPPED,
) {
  const { mask, classes } = outputs;
  if (labels.length && labels.length !== classes.length) {
    throw new Error(`the card has ${labels.length} labels, the model ${classes.length} classes.`);
  }
  const hasMask = tasks.includes('mask');
  const probabilities = Object.fromEntries(labels.map((label, i) => [label, classes[i]]));
  const probability = resizeProbability(mask, size.height, size.width);
  const { values } = probability;
  const pixels = new Uint8Array(values.length);
  const cut = hasMask ? threshold : Infinity;
  for (let at = 0; at < pixels.length; at++) pixels[at] = values[at] > cut ? 1 : 0;
  const lesion = { height: size.height, width: size.width, pixels };
  if (image) emptyMargins(lesion, image);
  const minimumArea = (rules.minimum_lesion_fraction ?? 0) * pixels.length;
  const found = splitComponents(lesion, minimumArea);
  const label = labels[classes.indexOf(Math.max(...classes))] ?? null;
  const isGated = label === 'normal' && probabilities.normal >= (rules.normal_gate ?? Infinity);
  const isLesionFound = found.boxes.length > 0;
  const margin = hasMask ? maskMargin(mask.values) : null;
  const isFound = hasMask ? isLesionFound : null;
  const facts = { label, probabilities, margin, isLesionFound: isFound, image };
  const refer = rules.refer ? findReasons(rules.refer, facts) : [];
  const isEmptied = isGated && isLesionFound;
  const kept = isGated ? emptied(found.mask) : found;
  const area = hasMask ? kept.area : null;
  return { ...kept, area, label, probabilities, probability, isEmptied, refer };
}

/**
 * @param {Grey} mask for the size
 * @returns {ReturnType<typeof splitComponents>}
 */
function emptied({ height, width }) {
  const mask = { height, width, pixels: new Uint8Array(height * width) };
  return { mask, area: 0, boxes: [], components: [] };
}

/**
 * The facts under the keys of predictions.json.
 *
 * @param {Prediction} prediction
 * @param {number} milliseconds
 * @param {import('./measurements.js').Measures} measures of the image
 */
export function toRecord(prediction, milliseconds, measures) {
  const { mask, label, probabilities, area, boxes, isEmptied, refer } = prediction;
  const rounded = Object.entries(probabilities).map(([k, p]) => [k, round(p, 6)]);
  return {
    class: label,
    probabilities: Object.fromEntries(rounded),
    lesion_area_px: area,
    lesion_fraction: area === null ? null : round(area / mask.pixels.length, 6),
    boxes,
    mask_emptied: isEmptied,
    refer,
    milliseconds: round(milliseconds, 2),
    ...measures,
  };
}
