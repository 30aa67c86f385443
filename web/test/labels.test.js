/** A model's own classes, and models of masks alone or classes alone, without a browser. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { measure } from '../src/measurements.js';
import { postprocess, THRESHOLD, toRecord } from '../src/prediction.js';

const SIZE = { height: 8, width: 8 };
const REFER = {
  minimum_class_probability: 0.9,
  minimum_mask_margin: 0.9,
  malignancy_limit: 0,
};
const RULES = { normal_gate: 0.1, refer: REFER };

/**
 * @param {import('../src/prediction.js').Meaning} meaning
 * @param {number[]} classes
 */
function find(meaning, classes) {
  const values = new Float32Array(64).fill(0.1);
  values.fill(0.9, 18, 22);
  const outputs = { mask: { ...SIZE, values }, classes: Float32Array.from(classes) };
  return postprocess(outputs, SIZE, RULES, undefined, THRESHOLD, meaning);
}

test('rules of classes that a model lacks are off', () => {
  const found = find({ labels: ['cyst', 'solid'], tasks: ['mask', 'class'] }, [0.75, 0.25]);
  assert.equal(found.label, 'cyst');
  assert.deepEqual(found.probabilities, { cyst: 0.75, solid: 0.25 });
  assert.deepEqual(found.refer, ['class unsure', 'mask margin low']);
  assert.equal(found.isEmptied, false);
});

test('a model of masks alone gives no class', () => {
  const found = find({ labels: [], tasks: ['mask'] }, [0.9, 0.05, 0.05]);
  assert.deepEqual([found.label, found.probabilities], [null, {}]);
  assert.deepEqual(found.refer, ['mask margin low']);
  assert.equal(toRecord(found, 1, {}).class, null);
  assert.equal(found.area, 4);
});

test('a model of classes alone gives no mask', () => {
  const found = find({ labels: ['cyst', 'solid'], tasks: ['class'] }, [0.75, 0.25]);
  assert.deepEqual([found.area, found.boxes], [null, []]);
  assert.deepEqual(found.refer, ['class unsure']);
  const measures = measure({ ...SIZE, pixels: new Uint8Array(64) }, found);
  assert.deepEqual(measures, {});
  const record = toRecord(found, 1, measures);
  assert.deepEqual([record.lesion_area_px, record.lesion_fraction], [null, null]);
});

test('a card with other labels than the model has classes is told', () => {
  const meaning = { labels: ['cyst', 'solid'], tasks: ['mask', 'class'] };
  assert.throws(() => find(meaning, [0.5, 0.3, 0.2]), /has 2 labels, the model 3 classes/);
});
