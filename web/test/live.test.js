/** Cameras and videos on the page, and how fast it is; no time makes a test fail. */

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
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

test('image after image', async (t) => {
  const times = [];
  for (let round = 0; round < 20; round++) {
    for (const label of ['benign', 'malignant']) {
      await pickPhantom(page, label);
      times.push(networkTime(await page.innerText('#timing')));
    }
  }
  const load = loadavg()[0].toFixed(1);
  t.diagnostic(`images: network ${rates(times)} runs a second; load ${load}`);
});

test('camera', async (t) => {
  await page.evaluate(() => {
    const media = navigator.mediaDevices;
    const open = media.getUserMedia.bind(media);
    /** @type {MediaStreamTrack[]} */
    const tracks = [];
    media.getUserMedia = async (wanted) => {
      const stream = await open(wanted);
      tracks.push(...stream.getTracks());
      return stream;
    };
    Object.assign(window, { tracks: () => tracks.map(({ readyState }) => readyState) });
  });
  await page.click('#camera');
  await waitForCaption(page, 'camera, 640 x 480');
  await measure(t, 'camera');
  await page.click('#stop');
  assert.ok(await page.isHidden('#stop'));
  assert.deepEqual(await page.evaluate(() => /** @type {any} */ (window).tracks()), ['ended']);
  await assertTableIsOfTheFrame();
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

/** While a video runs, its table is some frames late. */
async function assertTableIsOfTheFrame() {
  const [json] = await Promise.all([page.waitForEvent('download'), page.click('#save-record')]);
  const [{ lesions }] = JSON.parse(await readFile(await json.path(), 'utf8'));
  const areas = await page.$$eval('#measurements tr:nth-child(7) td', (cells) =>
    cells.map(({ textContent }) => textContent),
  );
  assert.ok(areas.length > 0);
  assert.deepEqual(areas, lesions.map((/** @type {any} */ { area_px }) => `${area_px} px`));
}

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
 * Beside the median stands the fastest tenth: what is left where other work on the
 * machine does not come between.
 *
 * @param {import('node:test').TestContext} t
 * @param {string} source
 */
async function measure(t, source) {
  const frames = await page.evaluate(async () => {
    /** @type {{text: string, time: number}[]} */
    const frames = [];
    const timing = /** @type {HTMLElement} */ (document.getElementById('timing'));
    const observer = new MutationObserver(() =>
      frames.push({ text: timing.textContent ?? '', time: performance.now() }),
    );
    observer.observe(timing, { childList: true });
    await new Promise((resolve) => setTimeout(resolve, 8000));
    observer.disconnect();
    return frames;
  });
  assert.ok(frames.length > 2, 'no frames');
  const runs = frames.map(({ text }) => networkTime(text));
  const intervals = frames.slice(1).map(({ time }, at) => time - frames[at].time);
  const load = loadavg()[0].toFixed(1);
  t.diagnostic(`${source}: network ${rates(runs)} runs a second`);
  t.diagnostic(`${source}: page ${rates(intervals)} frames a second; load ${load}`);
}

/** @param {string} text that the page shows */
function networkTime(text) {
  const found = text.match(/(\d+) ms of it the network/);
  assert.ok(found, text);
  return Number(found[1]);
}

/** @param {number[]} times in milliseconds */
function rates(times) {
  const sorted = times.sort((one, other) => one - other);
  const [fast, middle] = [0.1, 0.5].map((part) => 1000 / sorted[Math.floor(part * sorted.length)]);
  return `${middle.toFixed(1)} (fastest tenth ${fast.toFixed(1)})`;
}
