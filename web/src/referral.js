/**
 * When not to trust a prediction: a port of `keras_efsnet/prediction/referral.py`.
 *
 * @typedef {import('./images.js').Grey} Grey
 * @typedef {{
 *   minimum_class_probability: number,
 *   minimum_mask_margin: number,
 *   look?: import('./appearance.js').Appearance | null,
 *   malignancy_limit?: number,
 * }} ReferralRule
 *   The `refer` of a card's `postprocess`.
 */

import advice from '../../keras_efsnet/prediction/advice.json' with { type: 'json' };
import { accepts } from './appearance.js';

/** For each reason what it means and what to do. @type {Record<string, string>} */
export const ADVICE = advice;

export const NOT_B_MODE = 'does not look like B-mode';

/**
 * @param {ReferralRule} rule
 * @param {object} facts
 * @param {string | null} facts.label the predicted class; null without classes
 * @param {Record<string, number>} facts.probabilities by class
 * @param {number | null} facts.margin from `maskMargin`; null without a mask
 * @param {boolean | null} facts.isLesionFound before the normal gate; null as above
 * @param {Grey} [facts.image] the network's input; without it its look is left out
 * @returns {string[]} why a person should look; empty where nothing speaks against it
 */
export function findReasons(rule, { label, probabilities, margin, isLesionFound, image }) {
  const isSuspicious = (probabilities.malignant ?? -1) >= (rule.malignancy_limit ?? 1);
  const surest = label === null ? 1 : probabilities[label];
  const hasBoth = isLesionFound !== null && 'normal' in probabilities;
  /** @type {[string, boolean][]} */
  const objections = [
    ['malignancy not excluded', isSuspicious && label !== 'malignant'],
    ['class unsure', surest < rule.minimum_class_probability],
    ['mask margin low', margin !== null && margin < rule.minimum_mask_margin],
    ['mask and class disagree', hasBoth && (label === 'normal') === isLesionFound],
    [NOT_B_MODE, Boolean(rule.look && image && !accepts(rule.look, image))],
  ];
  return objections.filter(([, isRaised]) => isRaised).map(([reason]) => reason);
}

/**
 * How far the network is from the other answer to "is there a lesion?".
 *
 * @param {Float32Array} probability of lesion, the network's output
 * @returns {number} in [0, 1]; 1 is sure
 */
export function maskMargin(probability) {
  return Math.abs(2 * probability.reduce((most, value) => Math.max(most, value), 0) - 1);
}
