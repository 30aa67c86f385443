/** The report of `efsnet report`, opened from disk: looks, alternative text, order. */

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import axe from 'axe-core';

import { startBrowser, watchTraffic, writeReport } from './setting.js';

/** @typedef {import('playwright-core').Page} Page */

const SCREENSHOTS = fileURLToPath(new URL('../screenshots/', import.meta.url));

/** @type {string} */
let url;
/** @type {import('playwright-core').Browser} */
let browser;
/** @type {Page} */
let page;
/** @type {{requests: string[], problems: string[]}} */
let traffic;

before(async () => {
  url = pathToFileURL(await writeReport()).href;
  browser = await startBrowser();
  page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  traffic = watchTraffic(page);
  await page.goto(url);
  await mkdir(SCREENSHOTS, { recursive: true });
});

after(() => browser?.close());

for (const width of [390, 820, 1440]) {
  for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
    test(`${width} pixels, ${colorScheme}`, async () => {
      const other = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
      await other.goto(url);
      const name = `report-${width}-${colorScheme}`;
      await other.screenshot({ path: `${SCREENSHOTS}${name}.png`, fullPage: true });
      const wide = await other.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      assert.ok(!wide, `wider than the window: ${name}`);
      await other.evaluate(axe.source);
      const { violations } = await other.evaluate(() => /** @type {any} */ (window).axe.run());
      const found = violations.map((/** @type {any} */ { id, nodes }) => [id, nodes[0].html]);
      assert.deepEqual(found, [], name);
      await other.close();
    });
  }
}

test('what was found is first, settings are last', async () => {
  const titles = await page.$$eval('h2', (found) => found.map((title) => title.textContent));
  assert.deepEqual(titles.slice(0, 2), ['Training: run', 'What was found: evaluation']);
  assert.equal(titles.at(-1), 'Settings: run');
  const opening = await page.innerText('section >> nth=1');
  assert.match(opening, /^What was found.*\n+efsnet_base_breast was evaluated on 20\d\d-\d\d-\d\d/);
  assert.match(opening, /clinic <b>&amp; daughters/);
});

test('every picture says what it shows', async () => {
  const texts = await page.$$eval('img', (images) => images.map((image) => image.alt));
  assert.ok(texts.length > 12, String(texts.length));
  assert.equal(new Set(texts).size, texts.length);
  for (const text of texts) assert.match(text, /\d/);
  const roc = texts.find((text) => text.startsWith('ROC, malignant against benign;')) ?? '';
  assert.match(roc, /clinic <b>&amp; daughters: \d+ images, area \d\.\d+,/);
  assert.match(roc, /S-Detect, published/);
});

test('on a phone, the text of a chart is at least 9 pixels high', async () => {
  const phone = await browser.newPage({ viewport: { width: 390, height: 900 } });
  await phone.goto(url);
  const widths = await phone.$$eval('img.chart', (images) => images.map((image) => image.clientWidth));
  // The smallest text, of legends, is 10 points high in a picture of 5 inches.
  for (const width of widths) assert.ok((10 / 72 / 5) * width >= 9, String(width));
  await phone.close();
});

test('wide tables scroll by the keyboard', async () => {
  const phone = await browser.newPage({ viewport: { width: 390, height: 900 } });
  await phone.goto(url);
  const table = phone.getByRole('group', { name: 'Sources' });
  await table.focus();
  await phone.keyboard.press('ArrowRight');
  await phone.waitForFunction(
    () => (document.querySelector('[aria-label=Sources]')?.scrollLeft ?? 0) > 0,
  );
  await phone.close();
});

test('paper is white', async () => {
  const dark = await browser.newPage({ colorScheme: 'dark' });
  await dark.goto(url);
  const look = () =>
    dark.$eval('img.chart', (image) => [
      getComputedStyle(image).filter,
      getComputedStyle(document.body).backgroundColor,
    ]);
  assert.match((await look())[0], /invert/);
  await dark.emulateMedia({ media: 'print' });
  assert.deepEqual(await look(), ['none', 'rgb(255, 255, 255)']);
  await dark.close();
});

test('nothing but the file is asked for', () => {
  const files = traffic.requests.filter((request) => !request.startsWith('data:'));
  assert.deepEqual(files, [url]);
  assert.deepEqual(traffic.problems, []);
});
