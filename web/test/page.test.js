/** The page in headless Chromium against the Python runtime. */

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';

import {
  load,
  makeFolder,
  openPage,
  pickPhantom,
  predict,
  startBrowser,
  startServer,
  useReferRule,
  waitForCaption,
  writeSamples,
} from './setting.js';

const LABELS = ['normal', 'benign', 'malignant'];

/** @type {Awaited<ReturnType<typeof startServer>>} */
let server;
/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('playwright-core').Page} */
let page;
/** @type {string} */
let folder;
/** What Python says, by the file's name. @type {Map<string, {file: string, record: any, mask: Buffer}>} */
const expected = new Map();
/** @type {{requests: string[], problems: string[]}} */
let traffic;

before(async () => {
  server = await startServer();
  folder = await makeFolder();
  const files = [...(await Promise.all(LABELS.map(fetchPhantom))), ...(await writeSamples())];
  const predictions = await predict(files);
  files.forEach((file, i) => expected.set(basename(file), { file, ...predictions[i] }));
  browser = await startBrowser();
  ({ page, traffic } = await openPage(browser, server.url));
});

after(async () => {
  await browser?.close();
  server?.stop();
});

test('phantoms have the class and mask of efsnet predict', async () => {
  for (const label of LABELS) {
    await pickPhantom(page, label);
    await checkSaved(page, `${label}.png`);
  }
});

test('files of every kind have the class and mask of efsnet predict', async () => {
  for (const [name, { file }] of [...expected].slice(LABELS.length)) {
    await page.setInputFiles('#file', file);
    await waitForCaption(page, name);
    await checkSaved(page, name);
  }
});

test('a file that is dropped or pasted is predicted', async () => {
  const { file } = expectedFor('benign.png');
  for (const kind of ['drop', 'paste']) {
    await pickPhantom(page, 'normal');
    await giveFiles(kind, await readFile(file), ['benign.png']);
    await waitForCaption(page, 'benign.png');
    assert.match(await page.innerText('#summary'), /^benign/);
  }
});

test('of several in a row the last one is shown', async () => {
  for (let round = 0; round < 3; round++) {
    for (const label of ['benign', 'malignant', 'normal']) {
      await page.click(`[data-phantom=${label}]`);
    }
    await waitForCaption(page, 'normal.png');
    assert.match(await page.innerText('#summary'), /^normal/);
    await checkSaved(page, 'normal.png');
    await pickPhantom(page, 'benign');
  }
});

for (const [name, mimeType, problem] of [
  ['notes.txt', 'text/plain', /^notes\.txt: not an image/],
  ['scan.png', 'image/png', /^scan\.png: not an image/],
  ['scan.mp4', 'video/mp4', /^scan\.mp4: not a video/],
]) {
  test(`${name}, which cannot be opened, is named and leaves no other result`, async () => {
    await pickPhantom(page, 'malignant');
    await page.setInputFiles('#file', {
      name: String(name),
      mimeType: String(mimeType),
      buffer: Buffer.from('no image'),
    });
    await page.waitForFunction(() => document.getElementById('problem')?.textContent);
    assert.match(await page.innerText('#problem'), /** @type {RegExp} */ (problem));
    await assertNoResult();
  });
}

test('after a file that cannot be opened, the next one is shown', async () => {
  await pickPhantom(page, 'benign');
  assert.equal(await page.textContent('#problem'), '');
});

test('a moved threshold changes the mask and is said', async () => {
  await pickPhantom(page, 'malignant');
  const before = (await save(page)).record;
  await page.locator('#threshold').fill('0.9');
  assert.match(await page.innerText('#threshold-label'), /0\.90: not the calibrated 0\.50/);
  const moved = (await save(page)).record;
  assert.ok(moved.lesion_area_px < before.lesion_area_px);
  assert.equal(moved.threshold, 0.9);
  assert.deepEqual(moved.probabilities, before.probabilities);
  await page.locator('#threshold').fill('0.5');
  assert.deepEqual((await save(page)).record, before);
});

for (const [limit, missed, text, reasons] of /** @type {const} */ ([
  [0, undefined, 'No rule fired. The model can still be wrong.', []],
  [
    0,
    0.124,
    'No rule fired. The model can still be wrong: ' +
      'at a hospital without training images it missed 12 % of the lesions.',
    [],
  ],
  [1, 0.124, 'Refer to a person\nclass unsure: No class is probable enough.', ['class unsure']],
])) {
  test(`a card with the limit ${limit}: ${text}`, async () => {
    const context = await browser.newContext();
    await useReferRule(context, limit, missed);
    const other = await context.newPage();
    await load(other, server.url);
    await pickPhantom(other, 'benign');
    assert.ok((await other.innerText('#refer')).startsWith(text));
    assert.deepEqual((await save(other)).record.refer, reasons);
    await context.close();
  });
}

test('the table has the figures of the saved lesions', async () => {
  await pickPhantom(page, 'malignant');
  const { record } = await save(page);
  const rows = await page.$$eval('#measurements tr', (all) =>
    all.map((row) => [...row.children].map(({ textContent }) => textContent)),
  );
  const [lesion] = record.lesions;
  assert.deepEqual(rows[0], ['lesion', ...record.lesions.map((/** @type {any} */ { number }) => `${number}`)]);
  assert.deepEqual(rows[1].slice(0, 2), ['longest diameter', `${lesion.longest_diameter_px.toFixed(0)} px`]);
  await pickPhantom(page, 'normal');
  assert.deepEqual((await save(page)).record.lesions, []);
  assert.ok(await page.isHidden('#measurements'));
  await pickPhantom(page, 'malignant');
});

test('the swipe hides the marks right of the line', async () => {
  await page.locator('#swipe').fill('40');
  const clip = await page.$eval('.marks', (canvas) => getComputedStyle(canvas).clipPath);
  assert.match(clip, /60%/);
  await page.locator('#swipe').fill('100');
});

test('everything is reached by keyboard', async () => {
  await page.locator('h1').click();
  const reached = [];
  for (let press = 0; press < 19; press++) {
    await page.keyboard.press('Tab');
    const [name, outline] = await page.evaluate(() => {
      const element = /** @type {HTMLElement} */ (document.activeElement);
      const ring = element.closest('.button') ?? element;
      return [element.id || element.dataset.phantom, getComputedStyle(ring).outlineStyle];
    });
    reached.push(name);
    if (name) assert.equal(outline, 'solid', name);
  }
  const wanted = [
    ...['file', 'folder', 'camera', ...LABELS, 'picture', 'swipe', 'zoom-out', 'zoom-in'],
    ...['zoom-reset', 'marking', 'callipers', 'sharp', 'measurements', 'threshold'],
    ...['save-mask', 'save-record'],
  ];
  assert.deepEqual(reached.slice(0, wanted.length), wanted);
});

test('without isolation, the build without threads says the same', async () => {
  const context = await browser.newContext();
  await context.route('**/*', async (route) => {
    const response = await route.fetch();
    const headers = response.headers();
    delete headers['cross-origin-opener-policy'];
    delete headers['cross-origin-embedder-policy'];
    await route.fulfill({ response, headers });
  });
  const other = await context.newPage();
  await load(other, server.url);
  assert.equal(await other.innerText('#timing'), 'WebAssembly');
  await other.click('[data-phantom=malignant]');
  await waitForCaption(other, 'malignant.png');
  await checkSaved(other, 'malignant.png');
  await context.close();
});

test('WebGPU, emulated, says the same', async () => {
  const emulated = await startBrowser([
    '--enable-unsafe-webgpu',
    '--use-webgpu-adapter=swiftshader',
    '--enable-features=Vulkan',
  ]);
  const { page: other } = await openPage(emulated, server.url);
  await other.selectOption('#accelerator', 'webgpu');
  await other.waitForFunction(() => document.getElementById('timing')?.textContent === 'WebGPU');
  await pickPhantom(other, 'malignant');
  await checkSaved(other, 'malignant.png');
  await emulated.close();
});

test('no request leaves the origin, and no policy is broken', () => {
  const { requests, problems } = traffic;
  const origins = new Set(requests.map((url) => new URL(url).origin));
  assert.deepEqual([...origins], [new URL(server.url).origin]);
  for (const name of ['worker.js', 'litert_wasm_threaded_internal.wasm', 'model.tflite']) {
    assert.ok(requests.some((url) => url.endsWith(name)), name);
  }
  assert.deepEqual(problems, []);
});

/** @param {string} label */
async function fetchPhantom(label) {
  const response = await fetch(`${server.url}phantom/${label}.png`);
  const file = join(folder, `${label}.png`);
  await writeFile(file, Buffer.from(await response.arrayBuffer()));
  return file;
}

/** @param {string} name */
function expectedFor(name) {
  const found = expected.get(name);
  assert.ok(found);
  return found;
}

async function assertNoResult() {
  assert.equal(await page.innerText('#summary'), 'No result.');
  assert.equal((await page.innerText('#bars')).match(/%/), null);
  assert.ok(await page.isHidden('#figure'));
  assert.ok(await page.isHidden('#refer'));
  assert.ok(await page.isVisible('#empty'));
  for (const id of ['#save-mask', '#save-record']) assert.ok(await page.isDisabled(id));
}

/** @param {import('playwright-core').Page} page */
async function save(page) {
  const [mask] = await Promise.all([page.waitForEvent('download'), page.click('#save-mask')]);
  const [json] = await Promise.all([page.waitForEvent('download'), page.click('#save-record')]);
  const records = JSON.parse(await readFile(await json.path(), 'utf8'));
  assert.equal(records.length, 1);
  assert.equal(mask.suggestedFilename(), records[0].mask_file);
  return { record: records[0], mask: await readFile(await mask.path()) };
}

/**
 * @param {import('playwright-core').Page} page
 * @param {string} name
 */
async function checkSaved(page, name) {
  const python = expectedFor(name);
  const { record, mask } = await save(page);
  assert.equal(record.path, name);
  assert.equal(record.class, python.record.class);
  const differences = LABELS.map((label) =>
    Math.abs(record.probabilities[label] - python.record.probabilities[label]),
  );
  const furthest = Math.max(...differences);
  assert.ok(furthest < 1e-3, `${name}: probabilities differ by ${furthest}`);
  // The page draws no overlay file.
  const { overlay_file, ...wanted } = python.record;
  assert.deepEqual(Object.keys(record).sort(), Object.keys(wanted).sort());
  assert.deepEqual(record.refer, wanted.refer);
  assertSameLesions(record.lesions, wanted.lesions);
  const dice = await compareMasks(mask, python.mask);
  console.log(`${name}: Dice with Python ${dice.toFixed(4)}, probabilities within ${furthest.toFixed(6)}`);
  assert.ok(dice >= 0.99, `${name}: Dice ${dice}`);
}

/**
 * @param {any[]} found
 * @param {any[]} wanted
 */
function assertSameLesions(found, wanted) {
  const measures = (/** @type {any} */ { mean_probability, ...others }) => others;
  assert.deepEqual(found.map(measures), wanted.map(measures));
  found.forEach(({ mean_probability: mean }, at) =>
    assert.ok(Math.abs(mean - wanted[at].mean_probability) < 0.002),
  );
}

/**
 * @param {Buffer} one a PNG file
 * @param {Buffer} other
 * @returns {Promise<number>} Dice, 1 for two empty masks
 */
function compareMasks(one, other) {
  const files = [one, other].map((file) => file.toString('base64'));
  return page.evaluate(async (files) => {
    const masks = await Promise.all(files.map(readMask));
    const count = masks[0].length === masks[1].length ? masks[0].length : NaN;
    let [both, total] = [0, 0];
    for (let at = 0; at < count; at += 4) {
      const [one, other] = masks.map((mask) => Number(mask[at] > 0));
      both += one * other;
      total += one + other;
    }
    return total ? (2 * both) / total : Number(count > 0);

    async function readMask(/** @type {string} */ file) {
      const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
      const bitmap = await createImageBitmap(new Blob([bytes]));
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
      context?.drawImage(bitmap, 0, 0);
      return context?.getImageData(0, 0, bitmap.width, bitmap.height).data ?? [];
    }
  }, files);
}

/**
 * @param {string} kind
 * @param {Buffer} content of each
 * @param {string[]} names
 */
function giveFiles(kind, content, names) {
  return page.evaluate(
    ({ kind, content, names }) => {
      const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
      const transfer = new DataTransfer();
      for (const name of names) transfer.items.add(new File([bytes], name, { type: 'image/png' }));
      const event =
        kind === 'drop'
          ? new DragEvent(kind, { dataTransfer: transfer, bubbles: true })
          : new ClipboardEvent(kind, { clipboardData: transfer, bubbles: true });
      document.body.dispatchEvent(event);
    },
    { kind, content: content.toString('base64'), names },
  );
}

for (const [what, facts, names, summary] of /** @type {const} */ ([
  [
    'own classes',
    { labels: ['cyst', 'solid mass', 'abscess'] },
    ['cyst', 'solid mass', 'abscess'],
    /^(cyst|solid mass|abscess) \d+ %, lesion on/,
  ],
  ['masks alone', { labels: [], tasks: ['mask'] }, [], /^lesion on/],
  ['classes alone', { tasks: ['class'] }, LABELS, /^benign \d+ %$/],
])) {
  test(`a model of ${what} is shown as what it is`, async () => {
    const context = await browser.newContext();
    await context.route('**/card.json', (route) => route.fulfill({ json: facts }));
    const other = await context.newPage();
    await load(other, server.url);
    await pickPhantom(other, 'benign');
    const bars = await other.$$eval('#bars li span:first-child', (all) =>
      all.map((one) => one.textContent),
    );
    assert.deepEqual(bars, names);
    assert.match(await other.innerText('#summary'), summary);
    const isWithout = await other.isDisabled('#save-mask');
    assert.equal(isWithout, what === 'classes alone');
    await context.close();
  });
}
