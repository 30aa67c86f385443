/** The results page, opened from disk: looks, order, filter, keyboard, odd names. */

import assert from 'node:assert/strict';
import { mkdir, rename } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import axe from 'axe-core';

import { startBrowser, watchTraffic, writeResults } from './setting.js';

/** @typedef {import('playwright-core').Page} Page */

const SCREENSHOTS = fileURLToPath(new URL('../screenshots/', import.meta.url));

/** @type {Awaited<ReturnType<typeof writeResults>>} */
let folders;
/** @type {string} */
let folder;
/** @type {import('playwright-core').Browser} */
let browser;
/** @type {Page} */
let page;
/** @type {{requests: string[], problems: string[]}} */
let traffic;
/** @type {any[]} */
let entries;

before(async () => {
  folders = await writeResults();
  folder = folders.few;
  browser = await startBrowser();
  page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  traffic = watchTraffic(page);
  page.on('dialog', (dialog) => traffic.problems.push(dialog.message()));
  await open(page);
  entries = JSON.parse((await page.textContent('#data')) ?? '').entries;
  await mkdir(SCREENSHOTS, { recursive: true });
});

after(() => browser?.close());

for (const width of [390, 820, 1440]) {
  for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
    test(`${width} pixels, ${colorScheme}`, async () => {
      const viewport = { width, height: 900 };
      const other = await browser.newPage({ viewport, colorScheme, reducedMotion: 'reduce' });
      await open(other);
      const name = `results-${width}-${colorScheme}`;
      await look(other, name);
      if (width < 1000) await other.click('summary');
      await look(other, `${name}-controls`);
      await other.fill('[name=name]', 'nothing has this name');
      await look(other, `${name}-nothing`);
      for (const file of ['two.png', 'broken.png']) {
        await other.fill('[name=name]', file);
        await other.click('#list button');
        await look(other, `${name}-${file}`);
        await other.click('#close');
      }
      await other.close();
    });
  }
}

test('every image is there, in the order of the files, failed ones with their error', async () => {
  assert.equal(entries.length, 24);
  assert.equal(await page.innerText('h1'), 'Results: 24 images');
  assert.match(await page.innerText('header'), /For research use only, not for diagnosis/);
  const names = await namesInOrder();
  assert.deepEqual(names.map(entryOf), entries);
  for (const frame of [1, 2, 3]) assert.ok(names.includes(`pages.tif, frame ${frame}`));
  assert.match(await page.innerText('#list .failed'), /broken\.png: not an image/);
});

test('odd names are text, and each picture and link works', async () => {
  const places = await page.evaluate(async () => {
    const data = JSON.parse(document.getElementById('data')?.textContent ?? '');
    const links = data.entries.flatMap((/** @type {any} */ entry) => Object.values(entry.files));
    const load = async (/** @type {string} */ link) => {
      const image = new Image();
      image.src = link;
      await image.decode();
      return image.src;
    };
    return Promise.all(links.map(load));
  });
  assert.equal(places.length, 2 * 23);
  for (const place of places) assert.ok(place.startsWith(`${pathToFileURL(folder)}/`), place);
  const names = await namesInOrder();
  for (const name of ['<img src=x onerror=alert(1)>', '"\'>&amp;', '100% #1 ?a=b&c', '\\xff undecodable']) {
    assert.ok(names.includes(`${name}.png`), name);
    await page.fill('[name=name]', name);
    await page.click('#list button');
    assert.equal(await page.innerText('#view-name'), `${name}.png`);
    await page.waitForFunction(() => /** @type {any} */ (document.getElementById('overlay')).naturalWidth > 0);
    const link = await page.getAttribute('#files a >> nth=1', 'href');
    assert.match(link ?? '', /^[\w.~%-]+_mask\.png$/);
    await page.click('#close');
  }
  await page.click('[type=reset]');
});

for (const [order, key] of /** @type {[string, (entry: any) => number][]} */ ([
  ['malignant', (entry) => entry.probabilities.malignant],
  ['size', (entry) => entry.lesions?.[0]?.longest_diameter_px ?? 0],
  ['class', (entry) => ['normal', 'benign', 'malignant'].indexOf(entry.class)],
  ['refer', (entry) => Math.sign(entry.refer.length)],
])) {
  test(`sorted by ${order}`, async () => {
    for (const [way, sign] of /** @type {const} */ ([['down', -1], ['up', 1]])) {
      await page.selectOption('[name=order]', `${order}-${way}`);
      const names = await namesInOrder();
      assert.equal(names.at(-1), 'broken.png');
      const values = names.slice(0, -1).map((name) => key(entryOf(name)));
      assert.ok(new Set(values).size > 1);
      assert.deepEqual(values, values.toSorted((one, other) => sign * (one - other)));
    }
    await page.click('[type=reset]');
  });
}

for (const [what, choose, fits] of /** @type {[string, () => Promise<unknown>, (entry: any) => boolean][]} */ ([
  ['class', () => page.uncheck('[value=normal]'), (entry) => entry.class !== 'normal'],
  ['failed', () => page.uncheck('[value=failed]'), (entry) => !entry.error],
  ['referral', () => page.selectOption('[name=refer]', 'any'), (entry) => entry.refer?.length > 0],
  ['no referral', () => page.selectOption('[name=refer]', 'none'), (entry) => entry.refer?.length === 0],
  [
    'a reason',
    () => page.selectOption('[name=refer]', 'malignancy not excluded'),
    (entry) => entry.refer?.includes('malignancy not excluded'),
  ],
  [
    'probability',
    async () => [await page.fill('[name=malignant-from]', '5'), await page.fill('[name=malignant-to]', '60')],
    (entry) => entry.probabilities?.malignant >= 0.05 && entry.probabilities?.malignant <= 0.6,
  ],
  [
    'size',
    async () => [await page.fill('[name=size-from]', '100'), await page.fill('[name=size-to]', '400')],
    ({ lesions: [lesion] = [] }) => lesion?.longest_diameter_px >= 100 && lesion?.longest_diameter_px <= 400,
  ],
])) {
  test(`filtered by ${what}`, async () => {
    await choose();
    const found = entries.filter(fits);
    assert.ok(found.length > 0 && found.length < entries.length);
    await page.waitForFunction(
      (text) => document.getElementById('count')?.textContent === text,
      `${found.length} of ${entries.length} images`,
    );
    const names = await namesInOrder();
    assert.deepEqual(names.map(entryOf), found);
    await page.click('[type=reset]');
    assert.equal((await namesInOrder()).length, entries.length);
  });
}

test('the keyboard reaches everything, and the focus is seen', async () => {
  await page.locator('h1').click();
  const reached = [];
  do {
    await page.keyboard.press('Tab');
    reached.push(await focused());
    assert.ok(reached.length < 30, reached.join());
  } while (!reached.at(-1)?.endsWith('.png'));
  for (const name of ['order', 'class', 'refer', 'malignant-from', 'size-to', 'name']) {
    assert.ok(reached.includes(name), name);
  }
  const names = await namesInOrder();
  assert.equal(await focused(), names[0]);
  const columns = await page.$eval('#list', (list) => getComputedStyle(list).gridTemplateColumns.split(' ').length);
  assert.ok(columns > 2);
  for (const [key, place] of /** @type {[string, number][]} */ ([
    ['ArrowLeft', 0],
    ['ArrowRight', 1],
    ['ArrowDown', 1 + columns],
    ['ArrowUp', 1],
    ['End', names.length - 1],
    ['ArrowRight', names.length - 1],
    ['Home', 0],
    ['ArrowRight', 1],
  ])) {
    await page.keyboard.press(key);
    assert.equal(await focused(), names[place], key);
    await assertFocusIsSeen();
  }
  await page.keyboard.press('Enter');
  assert.equal(await page.innerText('#view-name'), names[1]);
  assert.equal(await page.innerText('#place'), `2 of ${names.length}`);
  assert.equal(await focused(), 'close');
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('ArrowLeft');
  assert.equal(await page.innerText('#view-name'), names[0]);
  assert.ok(await page.isDisabled('#previous'));
  for (let at = 1; at < names.length; at++) await page.keyboard.press('ArrowRight');
  assert.equal(await page.innerText('#view-name'), names.at(-1));
  await page.keyboard.press('Escape');
  await page.waitForFunction(
    (name) => document.activeElement?.querySelector('.name')?.textContent === name,
    names.at(-1),
  );
  assert.ok(await page.isHidden('#view'));
  await assertFocusIsSeen();
});

test('the overlay in full has the measurements of each lesion', async () => {
  await page.fill('[name=name]', 'two.png');
  await page.click('#list button');
  const { lesions } = entryOf('two.png');
  assert.equal(lesions.length, 2);
  const rows = await page.$$eval('#measurements tr', (found) =>
    found.map((row) => [...row.children].map((cell) => cell.textContent)),
  );
  const table = Object.fromEntries(rows.map(([name, ...cells]) => [name, cells]));
  for (const [at, lesion] of lesions.entries()) {
    assert.equal(table['longest diameter'][at], `${lesion.longest_diameter_px.toFixed(0)} px`);
    assert.equal(table.area[at], `${lesion.area_px.toFixed(0)} px`);
    assert.equal(table.orientation[at], lesion.orientation);
  }
  await page.click('#close');
  await page.click('[type=reset]');
});

test('a referred image says why and what to do', async () => {
  await page.selectOption('[name=refer]', 'malignancy not excluded');
  await page.click('#list button');
  const items = await page.$$eval('#refer li', (all) => all.map(({ textContent }) => textContent));
  assert.match(items[0] ?? '', /^malignancy not excluded: The class is not malignant, .* Read the image/);
  await look(page, 'results-referred');
  await page.click('#close');
  await page.click('[type=reset]');
});

for (const [name, summary, words, controls] of /** @type {const} */ ([
  ['own', '0 solid, 1 cyst.', /^cyst 75 %\n\d+ x \d+ px\nown\.png$/, ['class', 'size']],
  ['masks', '1 with a lesion.', /^\d+ x \d+ px\nmasks\.png$/, ['size']],
  ['classes', '0 solid, 1 cyst.', /^cyst 75 %\nclasses\.png$/, ['class']],
])) {
  test(`a model of ${name} has no other controls and words`, async () => {
    const other = await browser.newPage({ viewport: { width: 1440, height: 900 } });
    await other.goto(`${pathToFileURL(folders[name])}/index.html`);
    assert.equal(await other.innerText('header p'), summary);
    assert.match((await other.innerText('#list li')).replaceAll(/\n+/g, '\n').trim(), words);
    const orders = await other.$$eval('[name=order] option:not([hidden])', (options) =>
      options.map((option) => option.textContent),
    );
    assert.equal(orders.length, 1 + 2 * controls.length, orders.join());
    assert.equal(orders.includes('class, solid first'), name !== 'masks');
    assert.ok(await other.isHidden('#malignant-choice'));
    assert.ok(await other.isHidden('#refer-choice'));
    assert.equal(await other.isHidden('#size-choice'), name === 'classes');
    await look(other, `results-${name}`);
    await other.click('#list button');
    assert.equal(await other.isHidden('#bars'), name === 'masks');
    assert.equal(await other.isHidden('#measurements'), name === 'classes');
    assert.match(await other.innerText('#refer'), /has no rule that refers/);
    await look(other, `results-${name}-view`);
    await other.close();
  });
}

test('a missing overlay is said', async () => {
  const other = await browser.newPage();
  await other.route(/two_overlay/, (route) => route.abort());
  await open(other);
  await other.fill('[name=name]', 'two.png');
  await other.getByText('The overlay file is missing.').waitFor();
  await other.close();
});

test('the page works where its folder is moved', async () => {
  const moved = `${folder} moved #2 50%`;
  await rename(folder, moved);
  folder = moved;
  await open(page);
});

test('nothing but the folder is asked for, and no policy is broken', () => {
  assert.ok(traffic.requests.length > entries.length);
  for (const url of traffic.requests) assert.match(url, /^file:.*\/few( |%20|\/)/);
  assert.deepEqual(traffic.problems, []);
});

/**
 * Opens the page and waits for the pictures in sight.
 *
 * @param {Page} page
 */
async function open(page) {
  await page.goto(`${pathToFileURL(folder)}/index.html`);
  await page.waitForFunction(() => {
    const images = [...document.querySelectorAll('#list img')];
    return images.length > 1 && images.every((image) => /** @type {HTMLImageElement} */ (image).naturalWidth);
  });
}

/** The names on the cards from the first to the last, all scrolled through. */
async function namesInOrder() {
  return page.evaluate(async () => {
    /** @type {Map<number, string>} */
    const names = new Map();
    for (let y = 0; ; y += innerHeight / 2) {
      scrollTo(0, y);
      await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
      for (const card of document.querySelectorAll('#list li')) {
        names.set(Number(card.ariaPosInSet), card.querySelector('.name')?.textContent ?? '');
      }
      if (y > document.documentElement.scrollHeight) break;
    }
    scrollTo(0, 0);
    return [...names].sort(([one], [other]) => one - other).map(([, name]) => name);
  });
}

/** @param {string} name on a card */
function entryOf(name) {
  const [, file, frame] = name.match(/^(.*?)(?:, frame (\d+))?$/) ?? [];
  const found = entries.find(
    (entry) => entry.path.endsWith(`/${file}`) && (!frame || entry.frame === Number(frame)),
  );
  assert.ok(found, name);
  return found;
}

/** What has the focus: a card's image, or the name of a field or button. */
function focused() {
  return page.evaluate(() => {
    const element = /** @type {HTMLInputElement} */ (document.activeElement);
    return element.querySelector('.name')?.textContent ?? (element.name || element.id);
  });
}

async function assertFocusIsSeen() {
  const [outline, top, bottom, height] = await page.evaluate(() => {
    const element = /** @type {HTMLElement} */ (document.activeElement);
    const { top, bottom } = element.getBoundingClientRect();
    return [getComputedStyle(element).outlineStyle, top, bottom, innerHeight];
  });
  assert.equal(outline, 'solid');
  assert.ok(Number(top) >= -1 && Number(bottom) <= Number(height) + 1, `${top} to ${bottom}`);
}

/**
 * Takes a picture and checks what a program can see of it.
 *
 * @param {Page} page
 * @param {string} name
 */
async function look(page, name) {
  await page.evaluate(async () => {
    const images = [...document.images].filter((image) => image.src);
    await Promise.all(images.map((image) => image.decode()));
  });
  await page.waitForTimeout(200); // until they are painted
  await page.screenshot({ path: `${SCREENSHOTS}${name}.png` });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert.ok(!wide, `wider than the window: ${name}`);
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => /** @type {any} */ (window).axe.run());
  const found = violations.map((/** @type {any} */ { id, nodes }) => [id, nodes[0].html]);
  assert.deepEqual(found, [], name);
}
