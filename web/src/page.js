/**
 * The page: images in, pictures and results out.
 *
 * @typedef {import('./images.js').Grey & Partial<import('./decode.js').Image>} Read
 * @typedef {Awaited<ReturnType<typeof ask>>} Asked
 * @typedef {Asked & {
 *   name: string,
 *   prediction: import('./prediction.js').Prediction,
 *   measures?: import('./measurements.js').Measures,
 * }} Shown
 * @typedef {import('./files.js').Source} Source
 */

import { readImage } from './decode.js';
import { leaveOutMasks, listDropped, listFiles, listFolder, stemOf, titleOf } from './files.js';
import { connectList, fillList, leaveList } from './list.js';
import { makeMeter, openCamera, openVideo, watch } from './live.js';
import { connectLook, readLook } from './look.js';
import { measure } from './measurements.js';
import { startNetwork } from './network.js';
import { find } from './page-parts.js';
import { drawImage, drawLesions, encodeMask } from './picture.js';
import { postprocess, THRESHOLD, toRecord } from './prediction.js';
import { toJson } from './records.js';
import { change, connectRuns, lookBeside, runList } from './runs.js';
import {
  clearResult,
  makeBars,
  readMeaning,
  showPrediction,
  showRefer,
  showThreshold,
  showTiming,
} from './result.js';
import { showMeasurements } from './table.js';
import { connectViewer, resetView } from './viewer.js';

/** Milliseconds between the tables of a video: figures that change faster cannot be read. */
const TABLE_PERIOD = 500;

const image = /** @type {HTMLCanvasElement} */ (find('image'));
const overlay = /** @type {HTMLCanvasElement} */ (find('overlay'));
const threshold = /** @type {HTMLInputElement} */ (find('threshold'));
const accelerator = /** @type {HTMLSelectElement} */ (find('accelerator'));

/** @type {Promise<import('./network.js').Network>} */
let network;
/** @type {Promise<import('./result.js').Card>} */
const card = readCard();
/** @type {Shown | undefined} */
let shown;
/** When the table was last written. */
let tabulated = 0;

async function readCard() {
  const facts = await fetch('model/card.json').then((file) => file.json());
  makeBars(readMeaning(facts).labels);
  return facts;
}

/** @param {Read} grey */
async function ask(grey) {
  const [{ run, runtime }, facts] = await Promise.all([network, card]);
  const start = performance.now();
  const answer = await run(grey);
  return { grey, answer, card: facts, runtime, milliseconds: performance.now() - start };
}

/**
 * Shows one image and what the network said of it.
 *
 * @param {string} name
 * @param {Asked} asked
 * @param {number} [rate] frames a second, for one of a video
 */
function show(name, asked, rate = 0) {
  if (name !== shown?.name) resetView();
  shown = { ...asked, name, ...timeCut(asked, threshold.valueAsNumber) };
  drawImage(image, asked.grey);
  showShown(rate > 0);
  showTiming(shown.milliseconds, asked.answer.milliseconds, asked.runtime, rate);
}

/**
 * @param {Read} image
 * @param {string} name
 * @param {AbortSignal} signal of what it is a part of
 */
async function showImage(image, name, signal) {
  const asked = await ask(image);
  if (!signal.aborted) show(name, asked);
}

/** @param {Source} source */
function read({ file, path, frame }) {
  return readImage(file, path, frame);
}

/**
 * @param {Asked} asked
 * @param {number} at threshold
 */
function timeCut(asked, at) {
  const start = performance.now();
  const prediction = cut(asked, at);
  return { prediction, milliseconds: asked.milliseconds + performance.now() - start };
}

/**
 * @param {Asked} asked
 * @param {number} at threshold
 */
function cut({ answer, grey, card: facts }, at) {
  const { postprocess: rules = {} } = facts;
  const { outputs, input } = answer;
  return postprocess(outputs, grey, rules, input, at, readMeaning(facts));
}

/**
 * Measures an image once, and only if it is asked for: a video has no time to lose.
 *
 * @param {Shown} image
 */
function measuresOf(image) {
  image.measures ??= measure(image.grey, image.prediction);
  return image.measures;
}

/** @param {boolean} isLive */
function showShown(isLive) {
  if (!shown) return;
  const { name, grey, prediction, card: facts } = shown;
  drawMarks();
  showPrediction(prediction, isLive);
  if (!isLive || performance.now() > tabulated + TABLE_PERIOD) tabulate();
  if (facts.postprocess?.refer) showRefer(prediction.refer, facts);
  image.ariaLabel = `${name}: ${find('summary').textContent}`;
  const title = titleOf(name, hasMore(grey) ? grey.frame : null);
  find('caption').textContent = `${title}, ${grey.width} x ${grey.height}`;
  find('figure').style.setProperty('--ratio', `${grey.width / grey.height}`);
  find('figure').hidden = false;
  find('empty').hidden = true;
  find('save-record').removeAttribute('disabled');
  find('save-mask').toggleAttribute('disabled', prediction.area === null);
}

function drawMarks() {
  if (!shown) return;
  const look = readLook();
  const measured = look.callipers ? measuresOf(shown).lesions : [];
  drawLesions(overlay, shown.prediction, measured ?? [], look);
}

function tabulate() {
  if (shown) showMeasurements(measuresOf(shown).lesions ?? []);
  tabulated = performance.now();
}

/** Takes the last image and what was said of it off the page: it is not of the next. */
function clear() {
  shown = undefined;
  clearResult();
  find('figure').hidden = true;
  find('empty').hidden = false;
  for (const id of ['save-mask', 'save-record']) find(id).setAttribute('disabled', '');
}

/** @param {Source[]} sources one image is shown, several become a list */
function open(sources) {
  if (sources.length !== 1) return openList(sources);
  const [source] = sources;
  if (isVideo(source.file)) return openLive(() => openVideo(source.file), source.path);
  return change(async (signal) => {
    const image = await read(source);
    if (signal.aborted) return;
    if (image.frames > 1) return openList(sources);
    await showImage(image, source.path, signal);
  });
}

/** @param {File} file */
function isVideo({ type }) {
  return type.startsWith('video/');
}

/** @param {Source[]} sources */
function openList(sources) {
  return change(async (signal) => {
    const { images, masks } = leaveOutMasks(sources);
    if (!images.length) throw new Error('No image here: open PNG, JPEG, BMP or DICOM files.');
    const [, facts] = await Promise.all([network, card]);
    if (signal.aborted) return;
    const note = masks ? `${masks} left out: masks by their names or folders` : '';
    const hasRule = Boolean(facts.postprocess?.refer);
    const run = { note, hasRule, predict: describe, signal };
    await runList(() => fillList(images, run), signal);
  });
}

/**
 * Makes the record of a row, at the model's threshold.
 *
 * @param {Source} source
 * @returns {Promise<import('./list.js').Answer>}
 */
async function describe(source) {
  const { file, path } = source;
  if (isVideo(file)) throw new Error(`${path}: a video; open it alone.`);
  const image = await read(source);
  const { prediction, milliseconds } = timeCut(await ask(image), THRESHOLD);
  const measures = measure(image, prediction);
  const record = { path, ...toFrame(image), ...toRecord(prediction, milliseconds, measures) };
  return { record, frames: image.frames };
}

/** @param {Source} source a row's */
function showRow(source) {
  return lookBeside(async (signal) => showImage(await read(source), source.path, signal));
}

/** @param {string} label */
function openPhantom(label) {
  return change(async (signal) => {
    const name = `${label}.png`;
    const response = await fetch(`phantom/${name}`);
    if (!response.ok) throw new Error(`${name}: not there (${response.status})`);
    await showImage(await readImage(await response.blob(), name), name, signal);
  });
}

/**
 * @param {() => Promise<HTMLVideoElement>} open
 * @param {string} name
 */
function openLive(open, name) {
  return change(async (signal) => {
    const video = await open();
    if (!signal.aborted) find('stop').hidden = false;
    // The last frame stays.
    signal.addEventListener('abort', tabulate, { once: true });
    const meter = makeMeter();
    await watch(video, ask, (asked) => show(name, asked, meter.tick()), signal);
  });
}

/** Shows the same output cut elsewhere. */
function moveThreshold() {
  showThreshold(threshold.valueAsNumber);
  if (!shown) return;
  shown = { ...shown, prediction: cut(shown, threshold.valueAsNumber), measures: undefined };
  showShown(false);
}

async function saveMask() {
  if (shown) save(`${stem()}_mask.png`, await encodeMask(shown.prediction.mask));
}

function saveRecord() {
  if (!shown) return;
  const record = {
    path: shown.name,
    ...toFrame(shown.grey),
    ...toRecord(shown.prediction, shown.milliseconds, measuresOf(shown)),
    mask_file: `${stem()}_mask.png`,
    // Only where it is not the model's own.
    ...(threshold.valueAsNumber === THRESHOLD ? {} : { threshold: threshold.valueAsNumber }),
  };
  const content = new Blob([toJson([record])], { type: 'application/json' });
  save(`${stem()}_predictions.json`, content);
}

/** @param {Read} image */
function toFrame({ frame }) {
  return frame ? { frame } : {};
}

/** @param {Read} image */
function hasMore({ frames = 1 }) {
  return frames > 1;
}

/** The start of the names of files about the image, as `efsnet predict` names them. */
function stem() {
  if (!shown) return '';
  const { name, grey } = shown;
  const number = String(grey.frame).padStart(String(grey.frames).length, '0');
  return stemOf(name) + (hasMore(grey) ? `_frame${number}` : '');
}

/**
 * @param {string} name
 * @param {Blob} content
 */
function save(name, content) {
  const link = document.createElement('a');
  link.download = name;
  link.href = URL.createObjectURL(content);
  link.click();
  URL.revokeObjectURL(link.href);
}

function connect() {
  connectRuns({ clear, leaveList });
  connectInput('file', listFiles);
  connectInput('folder', listFolder);
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    if (!event.dataTransfer?.types.includes('Files')) return;
    const fail = (/** @type {unknown} */ error) => change(() => Promise.reject(error));
    listDropped(event.dataTransfer).then(open, fail);
  });
  document.addEventListener('paste', ({ clipboardData }) => {
    if (clipboardData?.files.length) open(listFiles(clipboardData.files));
  });
  connectList(showRow, save);
  for (const button of document.querySelectorAll('[data-phantom]')) {
    const { phantom } = /** @type {HTMLElement} */ (button).dataset;
    button.addEventListener('click', () => openPhantom(phantom ?? ''));
  }
  find('camera').addEventListener('click', () => openLive(openCamera, 'camera'));
  find('stop').addEventListener('click', () => change(async () => {}));
  find('save-mask').addEventListener('click', saveMask);
  find('save-record').addEventListener('click', saveRecord);
  threshold.addEventListener('input', moveThreshold);
  connectLook(drawMarks);
  connectViewer();
  accelerator.addEventListener('change', () => change(load));
}

/**
 * @param {string} id
 * @param {(files: FileList) => Source[]} list
 */
function connectInput(id, list) {
  const input = /** @type {HTMLInputElement} */ (find(id));
  input.addEventListener('change', () => {
    if (input.files) open(list(input.files));
    input.value = '';
  });
}

async function load() {
  network?.then(({ stop }) => stop(), () => {});
  network = startNetwork(accelerator.value === 'webgpu' ? 'webgpu' : 'wasm');
  const [{ runtime }] = await Promise.all([network, card]);
  if (!shown) find('summary').textContent = 'Ready.';
  find('timing').textContent = runtime;
}

async function start() {
  connect();
  moveThreshold();
  await change(load);
  const adapter = await navigator.gpu?.requestAdapter();
  find('accelerator-choice').hidden = !adapter;
  // Where a browser refuses it, the page needs the server each time.
  navigator.serviceWorker?.register('/service-worker.js').catch(() => {});
}

start();
