/**
 * Prints how fast the page is in headless Chromium: `npm run bench`.
 *
 * Beside the median stands the fastest tenth: what is left where other work on the
 * machine does not come between.
 */

import { cp, writeFile } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';

import {
  makeFolder,
  openPage,
  pickPhantom,
  recordVideo,
  startBrowser,
  startServer,
  waitForCaption,
  writeSamples,
} from './test/setting.js';

const SECONDS = 8;
const FILES = 100;

const server = await startServer();
const browser = await startBrowser();
const { page } = await openPage(browser, server.url);
// The service worker, which then keeps the release, is done.
await page.evaluate(() => navigator.serviceWorker.ready);

console.log(`${cpus().length} x ${cpus()[0].model}, ${await page.innerText('#timing')}`);
await measureImages();
await measureLive('camera, 640 x 480', () => page.click('#camera'));
const video = join(await makeFolder(), 'phantom.webm');
await writeFile(video, await recordVideo(page));
await measureLive('phantom.webm, 500 x 400', () => page.setInputFiles('#file', video));
await measureList();
await browser.close();
await server.stop();

async function measureImages() {
  const times = [];
  for (let round = 0; round < 20; round++) {
    for (const label of ['benign', 'malignant']) {
      await pickPhantom(page, label);
      times.push(networkTime(await page.innerText('#timing')));
    }
  }
  print('images, 500 x 400: network', times, 'runs');
}

/**
 * @param {string} caption
 * @param {() => Promise<unknown>} open
 */
async function measureLive(caption, open) {
  await open();
  await waitForCaption(page, caption);
  const frames = await page.evaluate(async (seconds) => {
    /** @type {{text: string, time: number}[]} */
    const frames = [];
    const timing = /** @type {HTMLElement} */ (document.getElementById('timing'));
    const observer = new MutationObserver(() =>
      frames.push({ text: timing.textContent ?? '', time: performance.now() }),
    );
    observer.observe(timing, { childList: true });
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    observer.disconnect();
    return frames;
  }, SECONDS);
  await page.click('#stop');
  print(`${caption}: network`, frames.map(({ text }) => networkTime(text)), 'runs');
  const intervals = frames.slice(1).map(({ time }, at) => time - frames[at].time);
  print(`${caption}: page`, intervals, 'frames');
}

async function measureList() {
  const folder = await makeFolder();
  const sample = (await writeSamples()).find((file) => file.endsWith('grey.bmp')) ?? '';
  for (let i = 0; i < FILES; i++) await cp(sample, join(folder, `${i}.bmp`));
  const start = performance.now();
  await page.setInputFiles('#folder', folder);
  await page.waitForFunction(
    (count) => document.getElementById('list-status')?.textContent?.startsWith(`${count} of`),
    FILES,
    { timeout: 120000 },
  );
  const rate = (1000 * FILES) / (performance.now() - start);
  console.log(`list of ${FILES} files, 500 x 400: ${rate.toFixed(1)} a second; load ${load()}`);
}

/** @param {string} text that the page shows */
function networkTime(text) {
  return Number(text.match(/(\d+) ms of it the network/)?.[1]);
}

/**
 * @param {string} what
 * @param {number[]} times in milliseconds
 * @param {string} unit
 */
function print(what, times, unit) {
  const sorted = times.toSorted((one, other) => one - other);
  const [fast, middle] = [0.1, 0.5].map((part) => 1000 / sorted[Math.floor(part * sorted.length)]);
  const rates = `${middle.toFixed(1)} (fastest tenth ${fast.toFixed(1)})`;
  console.log(`${what} ${rates} ${unit} a second; load ${load()}`);
}

function load() {
  return loadavg()[0].toFixed(1);
}
