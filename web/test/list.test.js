/** Several files and folders at once, against `efsnet predict`. */

import assert from 'node:assert/strict';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';

import {
  makeFolder,
  openPage,
  pickPhantom,
  predictList,
  startBrowser,
  startServer,
  waitForCaption,
  writeDicomSamples,
  writeSamples,
} from './setting.js';

/** @type {Awaited<ReturnType<typeof startServer>>} */
let server;
/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('playwright-core').Page} */
let page;
/** @type {string} in which `set` lies */
let folder;
/** @type {string[]} */
let samples;
/** @type {string} */
let dicom;

before(async () => {
  server = await startServer();
  browser = await startBrowser();
  samples = await writeSamples();
  dicom = await writeDicomSamples();
  folder = await makeFolder();
  const inner = join(folder, 'set', 'inner');
  await mkdir(inner, { recursive: true });
  for (const file of samples) {
    const isDeep = basename(file).startsWith('t');
    await cp(file, join(isDeep ? inner : join(folder, 'set'), basename(file)));
  }
  await cp(samples[0], join(folder, 'set', 'grey_mask.bmp'));
  await writeFile(join(folder, 'set', 'broken.png'), 'no image');
  await writeFile(join(folder, 'set', 'notes.txt'), 'no image');
});

after(async () => {
  await browser?.close();
  server?.stop();
});

beforeEach(async () => {
  await page?.context().close();
  ({ page } = await openPage(browser, server.url));
});

test('a folder gives the list of efsnet predict', async () => {
  const python = await predictList(['set'], folder);
  await page.setInputFiles('#folder', join(folder, 'set'));
  const status = await waitForEnd(python.length);
  assert.match(status, /, 1 not read, 1 left out: masks by their names or folders\.$/);
  assert.ok(await page.isHidden('#list-progress'));
  const records = JSON.parse(await save('#save-all', 'predictions.json'));
  checkRecords(records, python);
  const lines = (await save('#save-csv', 'predictions.csv')).trimEnd().split('\n');
  assert.equal(lines.length, 1 + records.length);
  assert.match(lines[0], /^path,.*class,p_normal,p_benign,p_malignant,lesion_area_px,/);
  const shown = await page.$$eval('#rows tr', (rows) =>
    rows.map((row) => Array.from(row.children, (cell) => cell.textContent?.trim())),
  );
  assert.deepEqual(shown.map(([path]) => path), python.map(({ path }) => path));
  const at = python.findIndex(({ error }) => error);
  assert.match(shown[at][1] ?? '', /^not an image that this browser reads/);
  const other = records[at ? 0 : 1];
  const { malignant } = other.probabilities;
  assert.equal(shown[at ? 0 : 1][2], `${(100 * malignant).toFixed(0)} %`);
});

test('files and a folder that are dropped give the list too', async () => {
  const inputs = [samples[1], join(folder, 'set', 'inner'), samples[0]];
  const python = await predictList(inputs, folder);
  await dropPaths(inputs);
  await waitForEnd(python.length);
  const records = JSON.parse(await save('#save-all', 'predictions.json'));
  const names = python.map(({ path }) =>
    basename(dirname(path)) === 'inner' ? join('inner', basename(path)) : basename(path),
  );
  checkRecords(records, python.map((record, i) => ({ ...record, path: names[i] })));
});

test('DICOM files with JPEG and JPEG 2000 inside are read as in Python', async () => {
  const python = await predictList(['jpeg'], dicom);
  await page.setInputFiles('#folder', join(dicom, 'jpeg'));
  const status = await waitForEnd(python.length);
  assert.doesNotMatch(status, /not read/);
  const records = JSON.parse(await save('#save-all', 'predictions.json'));
  checkRecords(records, python);
  const clip = records.filter((/** @type {any} */ { path }) => path === 'jpeg/clip.dcm');
  assert.deepEqual(clip.map((/** @type {any} */ { frame }) => frame), [1, 2, 3]);
  await page.getByRole('button', { name: 'jpeg/clip.dcm, frame 3' }).click();
  await waitForCaption(page, 'jpeg/clip.dcm, frame 3, 500 x 400');
  await save('#save-record', 'clip_frame3_predictions.json');
});

test('a DICOM file of several frames becomes a list', async () => {
  await page.setInputFiles('#file', join(dicom, 'jpeg', 'clip.dcm'));
  await waitForEnd(3);
  assert.deepEqual(
    await page.locator('#rows th').allInnerTexts(),
    [1, 2, 3].map((frame) => `clip.dcm, frame ${frame}`),
  );
});

test('a file that is gone when its row is chosen is told', async () => {
  const gone = await makeFolder();
  const files = ['a.dcm', 'b.dcm'].map((name) => join(gone, name));
  for (const file of files) await cp(join(dicom, 'jpeg', 'grey.dcm'), file);
  await page.setInputFiles('#file', files);
  await waitForEnd(2);
  await rm(files[1]);
  await page.getByRole('button', { name: 'b.dcm' }).click();
  await page.waitForFunction(() => document.getElementById('problem')?.textContent);
  assert.equal(await page.innerText('#problem'), 'b.dcm: cannot be read now; open it again.');
});

test('files that are pasted give the list', async () => {
  await page.evaluate(async () => {
    const content = await fetch('phantom/benign.png').then((file) => file.blob());
    const transfer = new DataTransfer();
    for (const name of ['b.png', 'a.png']) transfer.items.add(new File([content], name));
    document.body.dispatchEvent(
      new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true }),
    );
  });
  await waitForEnd(2);
  assert.deepEqual(await page.locator('#rows th').allInnerTexts(), ['b.png', 'a.png']);
});

test('a row is chosen by click and by keyboard, and shown in full', async () => {
  await page.setInputFiles('#file', samples);
  await waitForEnd(samples.length);
  const names = samples.map((file) => basename(file));
  await waitForCaption(page, names[0]);
  await page.locator('#rows tr').nth(2).locator('td').first().click();
  await waitForCaption(page, names[2]);
  assert.equal(await page.innerText('[aria-current=true]'), names[2]);
  await page.locator('#rows button').nth(2).focus();
  for (const [key, at] of /** @type {const} */ ([
    ['ArrowDown', 3],
    ['ArrowUp', 2],
    ['End', names.length - 1],
    ['Home', 0],
  ])) {
    await page.keyboard.press(key);
    await waitForCaption(page, names[at]);
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), names[at]);
  }
  const { probabilities } = JSON.parse(await save('#save-all', 'predictions.json'))[0];
  const [alone] = JSON.parse(await save('#save-record', 'colour_predictions.json'));
  assert.deepEqual(alone.probabilities, probabilities);
  await pickPhantom(page, 'benign');
  assert.equal(await page.locator('[aria-current=true]').count(), 0);
  assert.equal(await page.locator('#rows tr').count(), names.length);
});

test('a file of the list that cannot be read is named when it is chosen', async () => {
  const broken = join(folder, 'set', 'broken.png');
  await page.setInputFiles('#file', [broken, samples[0]]);
  await waitForEnd(2);
  await waitForCaption(page, basename(samples[0]));
  await page.click('#rows tr:first-child .problem');
  await page.waitForFunction(() => document.getElementById('problem')?.textContent);
  assert.match(await page.innerText('#problem'), /^broken\.png: not an image/);
  assert.ok(await page.isHidden('#figure'));
});

test('a list goes on while a row is shown, and Stop ends it', async () => {
  const many = await makeFolder();
  for (let i = 0; i < 80; i++) await cp(samples[3], join(many, `${100 + i}.png`));
  await page.setInputFiles('#folder', many);
  await page.waitForFunction(() => document.querySelectorAll('#rows .class').length > 3);
  await page.locator('#rows button').nth(1).click();
  await waitForCaption(page, `${basename(many)}/101.png`);
  const count = await page.locator('#rows .class').count();
  await page.waitForFunction((n) => document.querySelectorAll('#rows .class').length > n, count);
  await page.click('#stop');
  const status = await page.innerText('#list-status');
  const done = Number(status.match(/^Stopped: (\d+) of 80 images/)?.[1]);
  assert.ok(done > count && done < 80, status);
  await page.waitForTimeout(500);
  assert.equal(JSON.parse(await save('#save-all', 'predictions.json')).length, done);
  assert.ok(await page.isHidden('#stop'));
});

test('a folder without an image is told', async () => {
  const empty = await makeFolder();
  await writeFile(join(empty, 'notes.txt'), 'no image');
  await page.setInputFiles('#folder', empty);
  await page.waitForFunction(() => document.getElementById('problem')?.textContent);
  assert.match(await page.innerText('#problem'), /^No image here/);
});

/**
 * @param {number} count of files
 * @returns {Promise<string>} what is said of the list
 */
async function waitForEnd(count) {
  await page.waitForFunction(
    (count) =>
      document.getElementById('list-progress')?.hidden &&
      document.getElementById('list-status')?.textContent?.startsWith(`${count} of ${count} `),
    count,
  );
  return page.innerText('#list-status');
}

/**
 * @param {any[]} records
 * @param {any[]} python
 */
function checkRecords(records, python) {
  assert.deepEqual(records.map(({ path }) => path), python.map(({ path }) => path));
  records.forEach((record, i) => {
    // No files are written beside the list.
    const { mask_file, overlay_file, milliseconds, probabilities, ...wanted } = python[i];
    assert.deepEqual(Object.keys(record.probabilities ?? {}), Object.keys(probabilities ?? {}));
    for (const [label, p] of Object.entries(probabilities ?? {})) {
      assert.ok(Math.abs(record.probabilities[label] - p) < 1e-5, `${record.path}: ${label}`);
    }
    const { milliseconds: time, probabilities: found, ...rest } = record;
    // Lesions are followed through a clip by Python alone.
    for (const lesion of wanted.lesions ?? []) delete lesion.track;
    // Python's decoder has words of its own.
    if (wanted.error) wanted.error = rest.error;
    assert.deepEqual(rest, wanted);
  });
}

/**
 * @param {string} button
 * @param {string} name
 */
async function save(button, name) {
  const [file] = await Promise.all([page.waitForEvent('download'), page.click(button)]);
  assert.equal(file.suggestedFilename(), name);
  return readFile(await file.path(), 'utf8');
}

/** @param {string[]} files on the disk, dropped as from a file manager */
async function dropPaths(files) {
  const session = await page.context().newCDPSession(page);
  const data = { items: [], files, dragOperationsMask: 1 };
  for (const type of /** @type {const} */ (['dragEnter', 'dragOver', 'drop'])) {
    await session.send('Input.dispatchDragEvent', { type, x: 200, y: 200, data });
  }
}
