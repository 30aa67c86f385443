/** The ports against what Python answers. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { CALLIPER, markCallipers } from '../src/callipers.js';
import { findContour } from '../src/contour.js';
import { applyWindow, scaleBits } from '../src/dicom-display.js';
import { resizeImage, resizeProbability, toGrey } from '../src/images.js';
import { measure } from '../src/measurements.js';
import { postprocess, toRecord } from '../src/prediction.js';
import { round } from '../src/rounding.js';
import { VECTORS, decode, decodeFloats, decodeIntegers } from './vectors.js';

test('grey is equal', () => {
  for (const { rgba, grey } of VECTORS.grey) {
    const { height, width, pixels } = decode(rgba);
    assert.deepEqual(toGrey(pixels, height, width), decode(grey));
  }
});

test('a resized image is equal', () => {
  for (const { image, size, resized } of VECTORS.resize_image) {
    assert.deepEqual(resizeImage(decode(image), size[0], size[1]), decode(resized));
  }
});

test('a resized probability is equal', () => {
  for (const { probability, size, resized } of VECTORS.resize_probability) {
    const map = resizeProbability(decodeFloats(probability), size[0], size[1]);
    assert.deepEqual(map, decodeFloats(resized));
  }
});

test("a DICOM file's bits and windows are equal", () => {
  for (const { values, bits, grey } of VECTORS.scale_bits) {
    const found = decodeIntegers(values).map(scaleBits(bits));
    assert.deepEqual(Uint8Array.from(found), decode(grey).pixels);
  }
  for (const { values, function: kind, centre, width, grey } of VECTORS.window) {
    const found = decodeIntegers(values).map((value) => applyWindow(value, { centre, width, kind }));
    assert.deepEqual(Uint8Array.from(found), decode(grey).pixels);
  }
});

test('mask, record and contour are equal', () => {
  for (const vector of VECTORS.postprocess) {
    const [height, width] = vector.size;
    const outputs = {
      mask: decodeFloats(vector.mask_probability),
      classes: decodeFloats(vector.class_probabilities).values,
    };
    const image = vector.image && decode(vector.image);
    const prediction = postprocess(outputs, { height, width }, vector.rules, image);
    assert.deepEqual(prediction.mask, decode(vector.mask));
    assert.deepEqual(toRecord(prediction, 0, {}), vector.record);
    assert.deepEqual(findContour(prediction.mask, prediction.boxes), decode(vector.contour));
  }
});

test('measurements of lesions and their callipers are equal', () => {
  for (const vector of VECTORS.measurements) {
    const mask = decodeFloats(vector.mask_probability);
    const classes = Float32Array.of(0, 1, 0);
    const image = { ...decode(vector.image), regions: vector.regions };
    const measures = measure(image, postprocess({ mask, classes }, image, {}));
    assert.deepEqual(measures, vector.measures);
    const marks = { ...image, pixels: new Uint8Array(image.pixels.length) };
    markCallipers(marks, measures.lesions ?? []);
    const drawn = marks.pixels.map((mark) => Number(mark === CALLIPER));
    assert.deepEqual(drawn, decode(vector.callipers).pixels);
  }
});

test('halves are rounded to the even neighbour', () => {
  const found = [0.125, 0.375, 2.5, 0.126, 0.625].map((value) => round(value, 2));
  assert.deepEqual(found, [0.12, 0.38, 2.5, 0.13, 0.62]);
});
