/** DICOM files against what Python reads, without a browser. */

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { inflateSync } from 'node:zlib';
import makeCodec from '@cornerstonejs/codec-openjpeg/decodewasmjs';

import { hasMark, readDicom } from '../src/dicom.js';
import { decodeWith } from '../src/jpeg-2000-decoder.js';
import { writeDicomSamples } from './setting.js';

const CODEC = fileURLToPath(import.meta.resolve('@cornerstonejs/codec-openjpeg/decodewasm'));
const codec = makeCodec({ wasmBinary: await readFile(CODEC), print: () => {} });
const DECODERS = {
  jpeg: () => Promise.reject(new Error('a browser decodes JPEG')),
  jpeg2000: async (/** @type {Uint8Array} */ codestream) => decodeWith(await codec, codestream),
};

/** @type {string} */
let folder;

before(async () => {
  folder = await writeDicomSamples();
});

test('windows, tables, palettes, layouts, colours, run lengths and regions are equal', async () => {
  const expected = await readJson('expected.json');
  for (const [file, { size, greys, regions: wantedRegions }] of Object.entries(expected)) {
    for (const [at, grey] of greys.entries()) {
      const { height, width, pixels, regions, frames } = await read('read', file, at + 1);
      assert.deepEqual([height, width, frames], [...size, greys.length], file);
      const wanted = inflateSync(Buffer.from(grey, 'base64'));
      const differing = pixels.filter((value, at) => value !== wanted[at]).length;
      assert.equal(pixels.length, wanted.length, file);
      assert.equal(differing, 0, `${file}, frame ${at + 1}: pixels that differ`);
      assert.deepEqual(regions, wantedRegions, file);
    }
  }
  assert.equal(Object.keys(expected).length, (await readdir(join(folder, 'read'))).length);
});

test('what is not read is refused in one line that names file, problem and way', async () => {
  for (const [file, problem] of Object.entries(await readJson('refused.json'))) {
    await assert.rejects(read('refused', file), (/** @type {Error} */ error) => {
      assert.match(error.message, new RegExp(`^${file.replace('.', '\\.')}: .*${problem}`));
      assert.match(error.message, /[;:] [^;\n]+\.$/);
      return true;
    });
  }
});

test('a damaged file is refused in our own words, wherever it ends', async () => {
  for (const file of ['windows implicit.dcm', 'run_lengths colour.dcm', 'tables packed.dcm']) {
    const whole = new Uint8Array(await readFile(join(folder, 'read', file)));
    for (let end = 132; end < whole.length - 1; end += 61) {
      const part = whole.slice(0, end);
      await assert.rejects(
        readDicom(part, 'a.dcm', 1, DECODERS),
        /^Error: a\.dcm: [^\n]+\.$/,
        `${file} until ${end}`,
      );
    }
  }
});

test('the mark tells DICOM from other files', () => {
  const bytes = new Uint8Array(132);
  assert.ok(!hasMark(bytes));
  bytes.set(Buffer.from('DICM'), 128);
  assert.ok(hasMark(bytes));
});

/** @param {string} name */
async function readJson(name) {
  return JSON.parse(await readFile(join(folder, name), 'utf8'));
}

/**
 * @param {string} kind
 * @param {string} file
 * @param {number} [frame]
 */
async function read(kind, file, frame = 1) {
  const bytes = new Uint8Array(await readFile(join(folder, kind, file)));
  return readDicom(bytes, file, frame, DECODERS);
}

