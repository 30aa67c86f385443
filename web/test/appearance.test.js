/** How the page looks and reads: widths, light and dark, contrast and labels. */

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import axe from 'axe-core';

import { load, openPage, pickPhantom, startBrowser, startServer, useReferRule } from './setting.js';

const SCREENSHOTS = fileURLToPath(new URL('../screenshots/', import.meta.url));

/** @type {Awaited<ReturnType<typeof startServer>>} */
let server;
/** @type {import('playwright-core').Browser} */
let browser;

before(async () => {
  server = await startServer();
  browser = await startBrowser();
  await mkdir(SCREENSHOTS, { recursive: true });
});

after(async () => {
  await browser?.close();
  server?.stop();
});

for (const width of [390, 820, 1440]) {
  for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
    test(`${width} pixels, ${colorScheme}`, async () => {
      const viewport = { width, height: 844 };
      const context = await browser.newContext({ viewport, colorScheme, reducedMotion: 'reduce' });
      await useReferRule(context, 1);
      const page = await context.newPage();
      await load(page, server.url);
      await look(page, `${width}-${colorScheme}-empty`);
      await pickPhantom(page, 'benign');
      await page.locator('#swipe').fill('70');
      await look(page, `${width}-${colorScheme}`);
      await page.locator('#marking').selectOption('fill');
      await page.locator('#callipers').check();
      await look(page, `${width}-${colorScheme}-fill`);
      await page.locator('#threshold').fill('0.9');
      await page.setInputFiles('#file', SCREENSHOTS + '../package.json');
      await page.waitForFunction(() => document.getElementById('problem')?.textContent);
      await look(page, `${width}-${colorScheme}-problem`);
      await fillList(page);
      await look(page, `${width}-${colorScheme}-list`);
      await context.close();
    });
  }
}

test('long names of classes stay in their column', async () => {
  const labels = ['normal', 'fibroadenomatoid hyperplasia', 'Lymphknotenmetastasenverdacht'];
  for (const width of [390, 1440]) {
    const context = await browser.newContext({ viewport: { width, height: 844 } });
    await context.route('**/card.json', (route) => route.fulfill({ json: { labels } }));
    const page = await context.newPage();
    await load(page, server.url);
    await pickPhantom(page, 'benign');
    await page.locator('#swipe').fill('70');
    await look(page, `${width}-long-names`);
    const [names, tracks] = await Promise.all(
      ['span:first-child', '.track'].map((part) =>
        page.$$eval(`#bars ${part}`, (all) => all.map((one) => one.getBoundingClientRect().toJSON())),
      ),
    );
    names.forEach(({ right }, at) => assert.ok(right <= tracks[at].left));
    assert.ok(tracks.every(({ width }) => width >= 80));
    await context.close();
  }
});

test('nothing moves where less motion is asked for', async () => {
  const { page } = await openPage(browser, server.url, { reducedMotion: 'reduce' });
  const moving = await page.evaluate(() =>
    [...document.querySelectorAll('*')].filter((element) => {
      const { transitionDuration, animationName } = getComputedStyle(element);
      return transitionDuration !== '0s' || animationName !== 'none';
    }).length,
  );
  assert.equal(moving, 0);
  await page.close();
});

/**
 * Lists files of which one cannot be read and one has a long name.
 *
 * @param {import('playwright-core').Page} page
 */
async function fillList(page) {
  await page.evaluate(async () => {
    const transfer = new DataTransfer();
    for (const label of ['benign', 'malignant', 'normal']) {
      const content = await fetch(`phantom/${label}.png`).then((file) => file.blob());
      const name = label === 'normal' ? `${'normal_breast_'.repeat(4)}left.png` : `${label}.png`;
      transfer.items.add(new File([content], name));
    }
    transfer.items.add(new File(['no image'], 'broken.png'));
    document.body.dispatchEvent(
      new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true }),
    );
  });
  await page.waitForFunction(() => document.querySelector('#rows .problem'));
}

/**
 * Takes a picture and checks what a program can see of it.
 *
 * @param {import('playwright-core').Page} page
 * @param {string} name
 */
async function look(page, name) {
  await page.screenshot({ path: `${SCREENSHOTS}${name}.png`, fullPage: true });
  const cut = await page.evaluate(() =>
    [...document.querySelectorAll('body, body *:not(.unseen):not(.track)')]
      .filter((element) => element.scrollWidth > Math.max(element.clientWidth, 1) + 1)
      .filter((element) => getComputedStyle(element).display !== 'inline')
      .map((element) => element.outerHTML.slice(0, 80)),
  );
  assert.deepEqual(cut, [], `wider than its place in ${name}`);
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => /** @type {any} */ (window).axe.run());
  const found = violations.map((/** @type {any} */ { id, nodes }) => [id, nodes[0].html]);
  assert.deepEqual(found, [], name);
}
