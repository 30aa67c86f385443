/** Cameras and videos on the page, and how fast it is. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import {
  makeFolder,
  openPage,
  pickPhantom,
  startBrowser,
  startServer,
  waitForCaption,
} from './setting.js';

/** @type {Awaited<ReturnType<typeof startServer>>} */
let server;
/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('playwright-core').Page} */
let page;

before(async () => {
  server = await startServer();
  browser = await startBrowser();
  ({ page } = await openPage(browser, server.url));
});

after(async () => {
  await browser?.close();
  server?.stop();
});

test('camera', async (t) => {
  await page.click('#camera');
  await waitForCaption(page, 'camera, 640 x 480');
  await measure(t, 'camera');
  await page.click('#stop');
  assert.ok(await page.isHidden('#stop'));
});

test('video file', async (t) => {
  const video = join(await makeFolder(), 'phantom.webm');
  await writeFile(video, await recordVideo());
  await page.setInputFiles('#file', video);
  await waitForCaption(page, 'phantom.webm, 500 x 400');
  assert.match(await page.innerText('#summary'), /^(benign|malignant)/);
  await measure(t, 'video');
  await pickPhantom(page, 'benign');
  assert.ok(await page.isHidden('#stop'));
});

/** Two seconds of the image on the page, as a WebM file. */
async function recordVideo() {
  await pickPhantom(page, 'malignant');
  const content = await page.evaluate(async () => {
    const canvas = /** @type {HTMLCanvasElement} */ (document.getElementById('image'));
    const recorder = new MediaRecorder(canvas.captureStream(30), { mimeType: 'video/webm' });
    /** @type {Blob[]} */
    const parts = [];
    recorder.ondataavailable = ({ data }) => parts.push(data);
    recorder.start();
    const context = canvas.getContext('2d');
    const redraw = setInterval(() => context?.drawImage(canvas, 0, 0), 30);
    await new Promise((resolve) => setTimeout(resolve, 2000));
    clearInterval(redraw);
    await new Promise((resolve) => {
      recorder.onstop = resolve;
      recorder.stop();
    });
    const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
    return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
  });
  return Buffer.from(content, 'base64');
}

/**
 * Prints the network's runs and the page's frames a second, from what the page says.
 *
 * @param {import('node:test').TestContext} t
 * @param {string} source
 */
async function measure(t, source) {
  const seconds = 6;
  const lines = await page.evaluate(async (seconds) => {
    /** @type {string[]} */
    const lines = [];
    const timing = /** @type {HTMLElement} */ (document.getElementById('timing'));
    const observer = new MutationObserver(() => lines.push(timing.textContent ?? ''));
    observer.observe(timing, { childList: true });
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    observer.disconnect();
    return lines;
  }, seconds);
  assert.ok(lines.length > 2, 'no frames');
  const network = median(lines.map((line) => Number(line.match(/(\d+) ms of it/)?.[1])));
  t.diagnostic(
    `${source}: network ${network} ms in the median, ${(1000 / network).toFixed(0)} runs a ` +
      `second; page ${(lines.length / seconds).toFixed(1)} frames a second ` +
      `(load of the machine ${loadavg()[0].toFixed(1)})`,
  );
}

/** @param {number[]} values */
function median(values) {
  return values.sort((one, other) => one - other)[values.length >> 1];
}
