/** What the tests in a browser need: the installed package, its server, Chromium. */

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';

import { VECTORS, decode } from './vectors.js';
import { resizeImage } from '../src/images.js';

const BIN = fileURLToPath(new URL('../../.venv/bin/', import.meta.url));
const EFSNET = join(BIN, 'efsnet');
export const PYTHON = join(BIN, 'python');
const SAMPLES = fileURLToPath(new URL('samples.py', import.meta.url));
const DICOM = ['dicom_samples.py', 'dicom_refused.py'].map((name) =>
  fileURLToPath(new URL(name, import.meta.url)),
);
const RESULTS = fileURLToPath(new URL('results.py', import.meta.url));
const REPORT = fileURLToPath(new URL('report.py', import.meta.url));
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

/**
 * Starts `efsnet serve`.
 *
 * @param {{port?: string, model?: string}} [options] without a port, a free one
 * @returns {Promise<{url: string, stop: () => Promise<unknown>}>}
 */
export async function startServer({ port = '0', model = 'efsnet_base_breast' } = {}) {
  const options = ['--no-browser', '--port', port, '--model', model];
  const server = spawn(EFSNET, ['serve', ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(server, 'exit');
  for await (const line of createInterface({ input: server.stdout })) {
    const stop = () => (server.kill(), ended);
    return { url: line.split(' ')[0], stop };
  }
  throw new Error('efsnet serve ended at once');
}

/**
 * What the Python runtime says of images.
 *
 * @param {string[]} files
 * @returns {Promise<{record: any, mask: Buffer}[]>} mask: a PNG file
 */
export async function predict(files) {
  const out = await makeFolder();
  await promisify(execFile)(EFSNET, ['predict', ...files, '--out', out]);
  const records = JSON.parse(await readFile(join(out, 'predictions.json'), 'utf8'));
  return Promise.all(
    records.map(async (/** @type {any} */ record) => ({
      record,
      mask: await readFile(join(out, record.mask_file)),
    })),
  );
}

/**
 * The records of Python for files and folders, of which some may be no images.
 *
 * @param {string[]} inputs
 * @param {string} cwd
 * @returns {Promise<any[]>}
 */
export async function predictList(inputs, cwd) {
  const out = await makeFolder();
  await promisify(execFile)(EFSNET, ['predict', ...inputs, '--out', out], { cwd }).catch(
    ({ code }) => {
      if (code !== 1) throw new Error(`efsnet predict ended with ${code}`);
    },
  );
  return JSON.parse(await readFile(join(out, 'predictions.json'), 'utf8'));
}

/**
 * Phantoms in several kinds of files.
 *
 * @returns {Promise<string[]>} their paths
 */
export async function writeSamples() {
  const folder = await makeFolder();
  await promisify(execFile)(PYTHON, [SAMPLES, folder]);
  return (await readdir(folder)).map((name) => join(folder, name));
}

/** @returns {Promise<string>} the folder that `dicom_samples.py` and `_refused.py` wrote */
export async function writeDicomSamples() {
  const folder = await makeFolder();
  for (const script of DICOM) await promisify(execFile)(PYTHON, [script, folder]);
  return folder;
}

/**
 * Folders of results with their pages.
 *
 * @returns {Promise<Record<'few' | 'many' | 'own' | 'masks' | 'classes', string>>}
 *   what `efsnet predict` wrote of files with odd names; 2,000 results; those of a model
 *   with own classes, of masks alone, and of classes alone
 */
export async function writeResults() {
  const folder = await makeFolder();
  await promisify(execFile)(PYTHON, [RESULTS, folder]);
  const names = /** @type {const} */ (['few', 'many', 'own', 'masks', 'classes']);
  return /** @type {any} */ (Object.fromEntries(names.map((name) => [name, join(folder, name)])));
}

/**
 * A report of a run and of an evaluation on phantoms.
 *
 * @returns {Promise<string>} the HTML file
 */
export async function writeReport() {
  const folder = await makeFolder();
  await promisify(execFile)(join(BIN, 'python'), [REPORT, folder]);
  return join(folder, 'report.html');
}

/**
 * Starts Chromium with a camera that shows a phantom.
 *
 * @param {string[]} [more] arguments
 */
export async function startBrowser(more = []) {
  if (!existsSync(CHROMIUM)) {
    throw new Error(`${CHROMIUM} is missing: apt-get install chromium, or set CHROMIUM.`);
  }
  const camera = join(await makeFolder(), 'camera.y4m');
  await writeFile(camera, makeVideo());
  return chromium.launch({
    executablePath: CHROMIUM,
    // Chromium's sandbox refuses root.
    chromiumSandbox: process.getuid?.() !== 0,
    args: [
      '--use-fake-ui-for-media-stream',
      '--use-fake-device-for-media-stream',
      `--use-file-for-fake-video-capture=${camera}`,
      ...more,
    ],
  });
}

/**
 * Keeps what a page asks for and what breaks on it.
 *
 * @param {import('playwright-core').Page} page
 */
export function watchTraffic(page) {
  /** @type {string[]} */
  const requests = [];
  /** @type {string[]} */
  const problems = [];
  page.context().on('request', (request) => requests.push(request.url()));
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (message) => {
    if (/Content Security Policy/.test(message.text())) problems.push(message.text());
  });
  return { requests, problems };
}

/**
 * Opens the page and waits for the network.
 *
 * @param {import('playwright-core').Browser} browser
 * @param {string} url
 * @param {import('playwright-core').BrowserContextOptions} [options]
 */
export async function openPage(browser, url, options) {
  const page = await browser.newPage(options);
  const traffic = watchTraffic(page);
  await load(page, url);
  return { page, traffic };
}

/**
 * @param {import('playwright-core').Page} page
 * @param {string} url
 */
export async function load(page, url) {
  await page.goto(url);
  await page.waitForFunction(() => document.getElementById('summary')?.textContent === 'Ready.');
}

/**
 * Gives pages a card whose refer rule has this limit for the class: 0 is sure of every
 * phantom, 1 of none.
 *
 * @param {import('playwright-core').BrowserContext} context
 * @param {number} limit
 * @param {number} [missed] share of the lesions of an external hospital
 */
export function useReferRule(context, limit, missed) {
  const refer = { minimum_class_probability: limit, minimum_mask_margin: 0, look: null };
  const metrics = missed === undefined ? {} : { external: { mask: { missed } } };
  const json = { postprocess: { refer }, metrics };
  return context.route('**/card.json', (route) => route.fulfill({ json }));
}

/**
 * @param {import('playwright-core').Page} page
 * @param {string} label
 */
export async function pickPhantom(page, label) {
  await page.click(`[data-phantom=${label}]`);
  await waitForCaption(page, `${label}.png`);
}

/**
 * @param {import('playwright-core').Page} page
 * @param {string} text that it begins with
 */
export function waitForCaption(page, text) {
  return page.waitForFunction(
    (text) => document.getElementById('caption')?.textContent?.startsWith(text),
    text,
  );
}

/**
 * @param {import('playwright-core').Page} page
 * @returns {Promise<Buffer>} two seconds of the malignant phantom, as a WebM file
 */
export async function recordVideo(page) {
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

/** @returns {Promise<string>} a folder that is removed when the tests end */
export async function makeFolder() {
  const folder = await mkdtemp(join(tmpdir(), 'efsnet-web-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A raw video of 640 x 480, 30 frames a second: the malignant phantom of the vectors. */
function makeVideo() {
  const small = decode(VECTORS.resize_image.at(-1).image);
  const { height, width, pixels } = resizeImage(small, 480, 640);
  const luma = pixels.map((grey) => 16 + (grey * 219) / 255);
  const chroma = Buffer.alloc((height * width) / 2, 128);
  const frame = Buffer.concat([Buffer.from('FRAME\n'), luma, chroma]);
  const header = Buffer.from(`YUV4MPEG2 W${width} H${height} F30:1 Ip A1:1 C420\n`);
  return Buffer.concat([header, frame, frame]);
}
