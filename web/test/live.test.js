/** Cameras and videos on the page. */

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import {
  makeFolder,
  openPage,
  pickPhantom,
  recordVideo,
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

test('camera', async () => {
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
  await waitForFrames();
  await page.click('#stop');
  assert.ok(await page.isHidden('#stop'));
  assert.deepEqual(await page.evaluate(() => /** @type {any} */ (window).tracks()), ['ended']);
  await assertTableIsOfTheFrame();
});

test('video file', async () => {
  const video = join(await makeFolder(), 'phantom.webm');
  await writeFile(video, await recordVideo(page));
  await page.setInputFiles('#file', video);
  await waitForCaption(page, 'phantom.webm, 500 x 400');
  assert.match(await page.innerText('#summary'), /^(benign|malignant)/);
  await waitForFrames();
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

/** Waits until several frames were shown. */
function waitForFrames() {
  return page.waitForFunction(() => {
    const said = document.getElementById('timing')?.textContent ?? '';
    return /^[1-9]\d*\.\d frames a second/.test(said);
  });
}
