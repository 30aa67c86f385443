/** The page without its server, and after a change of the server. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { load, makeFolder, pickPhantom, startBrowser, startServer, watchTraffic } from './setting.js';

const PRESET = fileURLToPath(
  new URL('../../keras_efsnet/presets/efsnet_base_breast/', import.meta.url),
);

/** @type {Awaited<ReturnType<typeof startServer>>} */
let server;
/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('playwright-core').Page} */
let page;
/** @type {ReturnType<typeof watchTraffic>} */
let traffic;

before(async () => {
  server = await startServer();
  browser = await startBrowser();
  page = await browser.newPage();
  traffic = watchTraffic(page);
  await load(page, server.url);
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

test('after the first visit, the page works while the server is stopped', async () => {
  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.waitForFunction(async () => {
    const registration = await navigator.serviceWorker.getRegistration();
    return registration?.active?.state === 'activated';
  });
  await server.stop();
  await page.context().setOffline(true);
  for (const open of [() => page.goto(server.url), () => page.reload()]) {
    await open();
    await waitForNetwork();
    assert.match(await page.innerText('#timing'), /^WebAssembly, \d threads$/);
    await pickPhantom(page, 'malignant');
    assert.match(await page.innerText('#summary'), /^malignant \d+ %, lesion on/);
  }
  await page.context().setOffline(false);
});

test('another model on the same port is served with its own page and card', async () => {
  const old = await readRelease();
  const { port } = new URL(server.url);
  const other = await makeOtherModel();
  server = await startServer({ port, model: other.folder });
  await page.reload();
  await waitForNetwork();
  const now = await readRelease();
  assert.notEqual(now.folder, old.folder);
  assert.notEqual(now.model, old.model);
  assert.deepEqual([now.model, now.card], [other.digest, 'other']);
  // Kept as a whole, and the old one no longer.
  await page.waitForFunction(
    (name) => caches.keys().then((names) => names.join() === name),
    `efsnet-${now.folder.replaceAll('/', '')}`,
  );
  await server.stop();
  await page.goto(server.url + old.folder.slice(1));
  await waitForNetwork();
  assert.deepEqual(await readRelease(), now);
});

test('the manifest makes the page installable, and no policy is broken', async () => {
  const session = await page.context().newCDPSession(page);
  const { errors, url } = await session.send('Page.getAppManifest');
  assert.deepEqual(errors, []);
  assert.match(url, /manifest\.webmanifest$/);
  const { installabilityErrors } = await session.send('Page.getInstallabilityErrors');
  // A page of a test is opened like a private one.
  const found = installabilityErrors.filter(({ errorId }) => errorId !== 'in-incognito');
  assert.deepEqual(found, []);
  assert.deepEqual(traffic.problems, []);
});

function waitForNetwork() {
  return page.waitForFunction(() => document.getElementById('summary')?.textContent === 'Ready.');
}

/** The page's folder, and the digest of the model and the card's name that it gets. */
function readRelease() {
  return page.evaluate(async () => {
    const { name } = await fetch('model/card.json').then((file) => file.json());
    const file = await fetch('model/model.tflite');
    const digest = await crypto.subtle.digest('SHA-256', await file.arrayBuffer());
    const hex = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0'));
    return { folder: location.pathname, model: hex.join(''), card: name };
  });
}

/** The shipped model with other bytes at its end, and a card of its own. */
async function makeOtherModel() {
  const folder = await makeFolder();
  const { sha256, ...card } = JSON.parse(await readFile(join(PRESET, 'card.json'), 'utf8'));
  await writeFile(join(folder, 'card.json'), JSON.stringify({ ...card, name: 'other' }));
  const content = Buffer.concat([
    await readFile(join(PRESET, 'model_float32.tflite')),
    Buffer.alloc(16),
  ]);
  await writeFile(join(folder, 'model_float32.tflite'), content);
  return { folder, digest: createHash('sha256').update(content).digest('hex') };
}
