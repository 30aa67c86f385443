/** The ports against what Python answers: `tests/vectors.json`. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { inflateSync } from 'node:zlib';

import { findContour } from '../src/contour.js';
import { resizeImage, resizeProbability, toGrey } from '../src/images.js';
import { postprocess, toRecord } from '../src/prediction.js';

const VECTORS = JSON.parse(
  readFileSync(new URL('../../tests/vectors.json', import.meta.url), 'utf8'),
);

/** @param {{type: string, shape: number[], data: string}} vector */
function decode({ type, shape, data }) {
  const bytes = Uint8Array.from(inflateSync(Buffer.from(data, 'base64')));
  const values = type === 'float32' ? new Float32Array(bytes.buffer) : bytes;
  return { height: shape[0], width: shape[1], pixels: bytes, values };
}

/** @param {any} vector */
function decodeProbability(vector) {
  const { height, width, values } = decode(vector);
  return { height, width, values: /** @type {Float32Array} */ (values) };
}

test('grey is equal', () => {
  for (const { rgba, grey } of VECTORS.grey) {
    const { height, width, pixels } = decode(rgba);
    assert.deepEqual(toGrey(pixels, height, width).pixels, decode(grey).pixels);
  }
});

test('a resized image is equal', () => {
  for (const { image, size, resized } of VECTORS.resize_image) {
    const [height, width] = size;
    assert.deepEqual(resizeImage(decode(image), height, width).pixels, decode(resized).pixels);
  }
});

test('a resized probability is equal', () => {
  for (const { probability, size, resized } of VECTORS.resize_probability) {
    const { values } = resizeProbability(decodeProbability(probability), size[0], size[1]);
    assert.deepEqual(values, decode(resized).values);
  }
});

test('mask, record and contour are equal', () => {
  for (const vector of VECTORS.postprocess) {
    const [height, width] = vector.size;
    const outputs = {
      mask: decodeProbability(vector.mask_probability),
      classes: /** @type {Float32Array} */ (decode(vector.class_probabilities).values),
    };
    const prediction = postprocess(outputs, { height, width }, vector.rules);
    assert.deepEqual(prediction.mask.pixels, decode(vector.mask).pixels);
    assert.deepEqual(toRecord(prediction, 0), vector.record);
    const contour = findContour(prediction.mask);
    assert.deepEqual(contour.pixels, decode(vector.contour).pixels);
  }
});
