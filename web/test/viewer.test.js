/** Zoom and pan of the picture, and how lesions are drawn on it. */

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { openPage, pickPhantom, startBrowser, startServer, waitForCaption } from './setting.js';

const SCREENSHOTS = fileURLToPath(new URL('../screenshots/', import.meta.url));

/** @type {Awaited<ReturnType<typeof startServer>>} */
let server;
/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('playwright-core').Page} */
let page;

before(async () => {
  server = await startServer();
  browser = await startBrowser();
  ({ page } = await openPage(browser, server.url, { viewport: { width: 1280, height: 900 } }));
  await pickPhantom(page, 'benign');
});

after(async () => {
  await browser?.close();
  server?.stop();
});

beforeEach(() => page.click('#zoom-reset'));

test('buttons zoom, and the window keeps its size', async () => {
  const whole = await box('#image');
  const frame = await box('#picture');
  await page.click('#zoom-in');
  assert.equal(await page.innerText('#zoom'), '125 %');
  close((await box('#image')).width, 1.25 * whole.width);
  assert.deepEqual(await box('#overlay'), await box('#image'));
  assert.deepEqual(await box('#picture'), frame);
  for (let press = 0; press < 20; press++) await page.click('#zoom-in');
  assert.equal(await page.innerText('#zoom'), '1600 %');
  await page.click('#zoom-reset');
  assert.deepEqual(await box('#image'), whole);
  await page.click('#zoom-out');
  assert.deepEqual(await box('#image'), whole);
});

test('the wheel zooms where the pointer is', async () => {
  const scrolled = await page.evaluate(() => scrollY);
  const frame = await box('#picture');
  const pointer = { x: frame.x + 0.25 * frame.width, y: frame.y + 0.75 * frame.height };
  await page.mouse.move(pointer.x, pointer.y);
  await page.mouse.wheel(0, -400);
  await page.waitForFunction(() => document.getElementById('zoom')?.textContent !== '100 %');
  const image = await box('#image');
  assert.ok(image.width > 2 * frame.width);
  close((pointer.x - image.x) / image.width, 0.25, 0.001);
  close((pointer.y - image.y) / image.height, 0.75, 0.001);
  assert.equal(await page.evaluate(() => scrollY), scrolled);
});

test('at the whole image the wheel scrolls the page', async () => {
  await page.setViewportSize({ width: 1280, height: 500 });
  await page.hover('#picture');
  await page.mouse.wheel(0, 100);
  await page.waitForFunction(() => scrollY > 0);
  assert.equal(await page.innerText('#zoom'), '100 %');
  await page.evaluate(() => scrollTo(0, 0));
  await page.setViewportSize({ width: 1280, height: 900 });
});

test('the mouse drags the image as far as its edge, a double click resets', async () => {
  await zoomIn(4);
  const frame = await box('#picture');
  const before = await box('#image');
  const middle = { x: frame.x + frame.width / 2, y: frame.y + frame.height / 2 };
  await page.mouse.move(middle.x, middle.y);
  await page.mouse.down();
  await page.mouse.move(middle.x + 30, middle.y - 20);
  const moved = await box('#image');
  close(moved.x, before.x + 30);
  close(moved.y, before.y - 20);
  await page.mouse.move(middle.x + 3000, middle.y - 20);
  close((await box('#image')).x, frame.x);
  await page.mouse.up();
  await page.mouse.move(middle.x, middle.y);
  close((await box('#image')).x, frame.x);
  await page.mouse.dblclick(middle.x, middle.y);
  assert.equal(await page.innerText('#zoom'), '100 %');
});

test('two fingers pinch', async () => {
  const frame = await box('#picture');
  const middle = { x: frame.x + frame.width / 2, y: frame.y + frame.height / 2 };
  const client = await page.context().newCDPSession(page);
  const touch = (/** @type {string} */ type, /** @type {number[]} */ offsets) =>
    client.send('Input.dispatchTouchEvent', {
      type: /** @type {any} */ (type),
      touchPoints: offsets.map((offset, id) => ({ x: middle.x + offset, y: middle.y, id })),
    });
  await touch('touchStart', [-50, 50]);
  await touch('touchMove', [-100, 100]);
  await touch('touchEnd', []);
  assert.equal(await page.innerText('#zoom'), '200 %');
  const image = await box('#image');
  close(image.x + image.width / 2, middle.x);
});

test('keys zoom, move and reset', async () => {
  await page.focus('#picture');
  for (const key of ['+', '=']) await page.keyboard.press(key);
  assert.equal(await page.innerText('#zoom'), '156 %');
  await page.keyboard.press('-');
  assert.equal(await page.innerText('#zoom'), '125 %');
  const frame = await box('#picture');
  const before = await box('#image');
  await page.keyboard.press('ArrowRight');
  close((await box('#image')).x, before.x - 0.1 * frame.width);
  await page.keyboard.press('ArrowUp');
  close((await box('#image')).y, before.y + 0.1 * frame.height);
  await page.keyboard.press('0');
  assert.equal(await page.innerText('#zoom'), '100 %');
});

test('another image is shown whole', async () => {
  await zoomIn(3);
  await page.locator('#threshold').fill('0.6');
  assert.notEqual(await page.innerText('#zoom'), '100 %');
  await page.locator('#threshold').fill('0.5');
  await pickPhantom(page, 'malignant');
  assert.equal(await page.innerText('#zoom'), '100 %');
});

test('the line of before and after stays in place', async () => {
  await page.locator('#swipe').fill('40');
  const [divider, marks] = [await box('.divider'), await box('.marks')];
  await zoomIn(3);
  assert.deepEqual(await box('.divider'), divider);
  assert.deepEqual(await box('.marks'), marks);
  close(divider.x, marks.x + 0.4 * marks.width);
  await page.locator('#swipe').fill('100');
});

test('pixels are smooth or sharp', async () => {
  const rendering = () => page.$eval('#image', (canvas) => getComputedStyle(canvas).imageRendering);
  assert.equal(await rendering(), 'auto');
  await page.check('#sharp');
  assert.equal(await rendering(), 'pixelated');
  await page.uncheck('#sharp');
});

test('a lesion is drawn as contour or fill, with callipers', async () => {
  assert.ok(await page.isHidden('#opacity'));
  const contour = await countColours();
  assert.deepEqual(Object.keys(contour), ['255,214,0,255']);
  await page.selectOption('#marking', 'fill');
  await page.locator('#opacity').fill('0.8');
  const fill = await countColours();
  // The canvas keeps colours times opacity, so they come back with rounding errors.
  const [[colour, count]] = Object.entries(fill);
  assert.match(colour, /^25[45],21[345],0,204$/);
  assert.ok(count > 2 * contour['255,214,0,255']);
  await page.check('#callipers');
  const callipers = await countColours();
  assert.ok(callipers['0,229,255,255'] > 40);
  await page.uncheck('#callipers');
  await page.selectOption('#marking', 'contour');
  assert.deepEqual(await countColours(), contour);
});

test('several lesions have their numbers on the picture', async () => {
  assert.equal((await countColours())['0,0,0,255'], undefined);
  await pasteTwice('malignant');
  await waitForCaption(page, 'two.png');
  const heads = await page.$$eval('#measurements tr:first-child th', (all) =>
    all.map(({ textContent }) => textContent),
  );
  assert.deepEqual(heads, ['lesion', '1', '2']);
  // The numbers alone have a black border.
  assert.ok((await countColours())['0,0,0,255'] > 50);
  await page.screenshot({ path: `${SCREENSHOTS}several.png`, fullPage: true });
});

/** Pastes two copies of a phantom as one image. @param {string} label */
function pasteTwice(label) {
  return page.evaluate(async (label) => {
    const response = await fetch(`phantom/${label}.png`);
    const bitmap = await createImageBitmap(await response.blob());
    const canvas = new OffscreenCanvas(2 * bitmap.width, bitmap.height);
    for (const x of [0, bitmap.width]) canvas.getContext('2d')?.drawImage(bitmap, x, 0);
    const transfer = new DataTransfer();
    transfer.items.add(new File([await canvas.convertToBlob()], 'two.png', { type: 'image/png' }));
    document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: transfer }));
  }, label);
}

/** @param {string} selector @returns {Promise<{x: number, y: number, width: number, height: number}>} */
function box(selector) {
  return page.$eval(selector, (element) => {
    const { x, y, width, height } = element.getBoundingClientRect();
    return { x, y, width, height };
  });
}

/** @param {number} times */
async function zoomIn(times) {
  for (let press = 0; press < times; press++) await page.click('#zoom-in');
}

/** @returns {Promise<Record<string, number>>} pixels of each colour on the overlay */
function countColours() {
  return page.$eval('#overlay', (element) => {
    const canvas = /** @type {HTMLCanvasElement} */ (element);
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    /** @type {Record<string, number>} */
    const counts = {};
    for (let at = 0; at < data.length; at += 4) {
      if (!data[at + 3]) continue;
      const colour = data.slice(at, at + 4).join();
      counts[colour] = (counts[colour] ?? 0) + 1;
    }
    return counts;
  });
}

/**
 * @param {number} found
 * @param {number} wanted
 * @param {number} [tolerance] pixels
 */
function close(found, wanted, tolerance = 0.5) {
  assert.ok(Math.abs(found - wanted) <= tolerance, `${found} is not ${wanted}`);
}
