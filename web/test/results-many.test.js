/** The results page with 2,000 results: no blank and no second of wait. */

import assert from 'node:assert/strict';
import { loadavg } from 'node:os';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { startBrowser, writeResults } from './setting.js';

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('playwright-core').Page} */
let page;
/** @type {string} */
let address;
/** @type {{what: string, time: number, computing: number}[]} */
const waits = [];

before(async () => {
  address = `${pathToFileURL((await writeResults()).many)}/index.html`;
  browser = await startBrowser();
  page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
});

after(() => browser?.close());

test('the first pictures are there', async (t) => {
  for (let round = 0; round < 3; round++) {
    await wait('from the address to the pictures', async () => {
      await page.goto(address, { waitUntil: 'commit' });
      await page.waitForSelector('#list li');
    });
  }
  assert.equal(await page.innerText('#count'), '2000 of 2000 images');
  report(t);
});

test('scrolling 3,000 pixels a second shows cards in every frame', async (t) => {
  const frames = await page.evaluate(async () => {
    const frames = [];
    let last = performance.now();
    for (const end = last + 8000; last < end; ) {
      await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
      const now = performance.now();
      const cards = [...document.querySelectorAll('#list li')].map((card) => card.getBoundingClientRect());
      const seen = cards.filter(({ top, bottom }) => top < innerHeight && bottom > 0);
      const gap = 12;
      frames.push({
        milliseconds: now - last,
        isBlank: Math.max(...seen.map(({ bottom }) => bottom)) < innerHeight - gap ||
          (scrollY > 300 && Math.min(...seen.map(({ top }) => top)) > gap),
        cards: cards.length,
      });
      scrollBy(0, Math.min(3 * (now - last), innerHeight));
      last = now;
    }
    return frames;
  });
  assert.ok((await page.evaluate(() => scrollY)) > 5000);
  assert.equal(frames.filter(({ isBlank }) => isBlank).length, 0);
  assert.ok(Math.max(...frames.map(({ cards }) => cards)) < 100, 'the document does not grow');
  const times = frames.map(({ milliseconds }) => milliseconds).sort((one, other) => one - other);
  const middle = times[times.length >> 1];
  t.diagnostic(`${times.length} frames, median ${middle.toFixed(0)} ms, slowest ${times.at(-1)?.toFixed(0)} ms`);
  assert.ok(middle < 1000);
});

test('a jump shows the pictures at that place', async (t) => {
  for (const part of [0.9, 0.15, 0.55, 0.3, 0.75]) {
    await wait('from a jump to the pictures', () =>
      page.evaluate((part) => scrollTo(0, part * document.documentElement.scrollHeight), part),
    );
  }
  report(t);
});

test('another order shows its pictures', async (t) => {
  await page.evaluate(() => scrollTo(0, 0));
  for (const order of ['malignant-down', 'size-down', 'malignant-up', 'refer-down', 'size-up']) {
    await wait('from another order to the pictures', () => page.selectOption('[name=order]', order));
  }
  report(t);
});

/**
 * Keeps the time from an action to the pictures in sight, and the browser's computing time
 * in it: on a busy machine the first is longer, on an idle one the second.
 *
 * @param {string} what
 * @param {() => Promise<unknown>} act
 */
async function wait(what, act) {
  const [start, before] = [performance.now(), await computingTimes()];
  await act();
  await picturesInSight();
  const time = performance.now() - start;
  const after = await computingTimes();
  const computing = [...after].reduce((sum, [id, spent]) => sum + spent - (before.get(id) ?? 0), 0);
  waits.push({ what, time, computing });
}

/** Milliseconds of the browser's processes by their numbers. */
async function computingTimes() {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  await session.detach();
  return new Map(processInfo.map(({ id, cpuTime }) => [id, 1000 * cpuTime]));
}

/**
 * Prints the waits so far and forgets them; the median may not be a second.
 *
 * @param {import('node:test').TestContext} t
 */
function report(t) {
  const load = loadavg()[0].toFixed(1);
  const found = waits.splice(0);
  for (const { what, time, computing } of found) {
    t.diagnostic(`${what}: ${time.toFixed(0)} ms, ${computing.toFixed(0)} ms of computing; load ${load}`);
  }
  const sorted = found.map(({ time, computing }) => Math.min(time, computing)).sort((a, b) => a - b);
  assert.ok(sorted[sorted.length >> 1] < 1000);
}

/** Waits until all pictures in sight are decoded. */
function picturesInSight() {
  return page.evaluate(async () => {
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    const cards = [...document.querySelectorAll('#list li')].filter((card) => {
      const { top, bottom } = card.getBoundingClientRect();
      return top < innerHeight && bottom > 0;
    });
    if (!cards.length) throw new Error('no card in sight');
    await Promise.all(cards.map((card) => card.querySelector('img')?.decode()));
  });
}
