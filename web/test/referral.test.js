/** The refer rule on values that were worked out by hand, as in `tests/test_referral.py`. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { accepts, distance, measure } from '../src/appearance.js';
import { postprocess } from '../src/prediction.js';
import { findReasons, maskMargin } from '../src/referral.js';

const SIDE = 64;
const RULE = { minimum_class_probability: 0.6, minimum_mask_margin: 0.5 };
const SURE = facts('benign', { normal: 0.05, benign: 0.9, malignant: 0.05 });

/** @param {string} label @param {Record<string, number>} probabilities */
function facts(label, probabilities) {
  return { label, probabilities, margin: 0.9, isLesionFound: true };
}

/** @param {(row: number, column: number) => number} value */
function image(value) {
  const pixels = Uint8Array.from({ length: SIDE * SIDE }, (_, at) =>
    value(Math.floor(at / SIDE), at % SIDE),
  );
  return { height: SIDE, width: SIDE, pixels };
}

/** Its distance is that of the mean brightness, in 1 / 255. @param {number} maximum */
function nearbyLook(maximum) {
  const inverse = Array.from({ length: 15 }, () => Array(15).fill(0));
  inverse[0][0] = 255 ** 2;
  return { mean: Array(15).fill(0), inverse_covariance: inverse, maximum_distance: maximum };
}

/** @param {number[]} found @param {number[]} wanted */
function assertClose(found, wanted) {
  assert.equal(found.length, wanted.length);
  found.forEach((value, at) => assert.ok(Math.abs(value - wanted[at]) < 1e-6, `${at}: ${value}`));
}

test('a sure answer has no reason', () => {
  assert.deepEqual(findReasons(RULE, SURE), []);
  const normal = facts('normal', { normal: 0.9, benign: 0.05, malignant: 0.05 });
  assert.deepEqual(findReasons(RULE, { ...normal, isLesionFound: false }), []);
  const limit = facts('benign', { normal: 0.2, benign: 0.6, malignant: 0.2 });
  assert.deepEqual(findReasons(RULE, { ...limit, margin: 0.5 }), []);
});

test('malignancy is excluded below its limit alone', () => {
  const rule = { ...RULE, malignancy_limit: 0.1 };
  const found = ['malignancy not excluded'];
  assert.deepEqual(findReasons(rule, SURE), []);
  const near = facts('benign', { normal: 0, benign: 0.9, malignant: 0.1 });
  assert.deepEqual(findReasons(rule, near), found);
  const malignant = facts('malignant', { normal: 0, benign: 0.1, malignant: 0.9 });
  assert.deepEqual(findReasons(rule, malignant), []);
});

test('reasons come together and in order', () => {
  const unsure = facts('normal', { normal: 0.5, benign: 0.2, malignant: 0.3 });
  const rule = { ...RULE, look: nearbyLook(10), malignancy_limit: 0.3 };
  assert.deepEqual(findReasons(rule, { ...unsure, margin: 0.1, image: image(() => 11) }), [
    'malignancy not excluded',
    'class unsure',
    'mask margin low',
    'mask and class disagree',
    'does not look like B-mode',
  ]);
});

test('a lesion that the normal gate hides still disagrees', () => {
  const mask = { height: 2, width: 2, values: Float32Array.of(0.9, 0.1, 0.1, 0.1) };
  const outputs = { mask, classes: Float32Array.of(0.8, 0.1, 0.1) };
  const rules = { refer: RULE, normal_gate: 0.7 };
  const { area, boxes, refer } = postprocess(outputs, { height: 2, width: 2 }, rules);
  assert.deepEqual({ area, boxes, refer }, { area: 0, boxes: [], refer: ['mask and class disagree'] });
  const small = postprocess(outputs, mask, { ...rules, minimum_lesion_fraction: 0.5 });
  assert.deepEqual(small.refer, []);
});

test('the margin is that of the highest probability', () => {
  assert.equal(maskMargin(Float32Array.of(0, 0.25)), 0.5);
  assert.equal(maskMargin(Float32Array.of(0, 0.75)), 0.5);
  assert.equal(maskMargin(Float32Array.of(0, 0)), 1);
});

test('statistics of lines and of bands', () => {
  const lines = measure(image((row) => (row % 2 ? 0 : 100)));
  const contrasts = [0.5, 100.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5].map(Math.log);
  const even = [54, 54, 54, 54].map(Math.log);
  assertClose(lines, [50 / 255, 1, ...contrasts, ...even, Math.log(0.5)]);
  const bands = measure(image((row) => 40 + 40 * Math.floor(row / 16)));
  assertClose(bands.slice(10, 14), [44, 84, 124, 164].map(Math.log));
  assertClose(bands.slice(14), [Math.log(Math.sqrt(2000) + 0.5)]);
});

test('the greatest distance is still accepted', () => {
  const dark = image(() => 11);
  const far = distance(nearbyLook(1), dark);
  assertClose([far], [11]);
  assert.ok(accepts(nearbyLook(far), dark));
  assert.ok(!accepts(nearbyLook(far - 1e-9), dark));
});
