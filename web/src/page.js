/**
 * The page: images in, pictures and results out.
 *
 * @typedef {import('./images.js').Grey} Grey
 * @typedef {Awaited<ReturnType<typeof ask>>} Asked
 * @typedef {Asked & {
 *   name: string,
 *   prediction: import('./prediction.js').Prediction,
 *   measures?: import('./measurements.js').Measures,
 * }} Shown
 */

import { readImage } from './decode.js';
import { makeMeter, openCamera, openVideo, watch } from './live.js';
import { connectLook, readLook } from './look.js';
import { measure } from './measurements.js';
import { startNetwork } from './network.js';
import { find } from './page-parts.js';
import { drawImage, drawLesions, encodeMask } from './picture.js';
import { postprocess, THRESHOLD, toRecord } from './prediction.js';
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
let source = new AbortController();
/** When the table was last written. */
let tabulated = 0;

async function readCard() {
  const facts = await fetch('model/card.json').then((file) => file.json());
  makeBars(readMeaning(facts).labels);
  return facts;
}

/** @param {Grey} grey */
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
  const start = performance.now();
  const prediction = cut(asked);
  const milliseconds = asked.milliseconds + performance.now() - start;
  if (name !== shown?.name) resetView();
  shown = { ...asked, name, milliseconds, prediction };
  drawImage(image, asked.grey);
  showShown(rate > 0);
  showTiming(milliseconds, asked.answer.milliseconds, asked.runtime, rate);
}

/**
 * @param {Blob} file
 * @param {string} name
 * @param {AbortSignal} signal of its source
 */
async function showFile(file, name, signal) {
  const asked = await ask(await readImage(file, name));
  if (!signal.aborted) show(name, asked);
}

/** @param {Asked} asked */
function cut({ answer, grey, card: facts }) {
  const { postprocess: rules = {} } = facts;
  const { outputs, input } = answer;
  return postprocess(outputs, grey, rules, input, threshold.valueAsNumber, readMeaning(facts));
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
  find('caption').textContent = `${name}, ${grey.width} x ${grey.height}`;
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

/**
 * Ends what runs and begins something new; a failure is said on the page.
 *
 * @param {(signal: AbortSignal) => Promise<void>} begin
 * @param {string} [note] said on the page in any case
 */
async function change(begin, note = '') {
  source.abort();
  // The last frame of a video stays.
  tabulate();
  source = new AbortController();
  const { signal } = source;
  find('stop').hidden = true;
  find('problem').textContent = note;
  try {
    await begin(signal);
  } catch (error) {
    if (signal.aborted) return;
    find('stop').hidden = true;
    clear();
    const problem = error instanceof Error ? error.message : String(error);
    find('problem').textContent = `${problem} ${note}`.trim();
  }
}

/** @param {FileList | null | undefined} files the first is opened */
function openFiles(files) {
  if (!files?.length) return;
  const [file] = files;
  const note =
    files.length > 1
      ? `Only ${file.name} of the ${files.length} files was opened: open one file at a time.`
      : '';
  if (file.type.startsWith('video/')) openLive(() => openVideo(file), file.name, note);
  else change((signal) => showFile(file, file.name, signal), note);
}

/** @param {string} label */
function openPhantom(label) {
  return change(async (signal) => {
    const name = `${label}.png`;
    const response = await fetch(`phantom/${name}`);
    if (!response.ok) throw new Error(`${name}: not there (${response.status})`);
    await showFile(await response.blob(), name, signal);
  });
}

/**
 * @param {() => Promise<HTMLVideoElement>} open
 * @param {string} name
 * @param {string} [note]
 */
function openLive(open, name, note) {
  return change(async (signal) => {
    const video = await open();
    if (!signal.aborted) find('stop').hidden = false;
    const meter = makeMeter();
    await watch(video, ask, (asked) => show(name, asked, meter.tick()), signal);
  }, note);
}

/** Shows the same output cut elsewhere. */
function moveThreshold() {
  showThreshold(threshold.valueAsNumber);
  if (!shown) return;
  shown = { ...shown, prediction: cut(shown), measures: undefined };
  showShown(false);
}

async function saveMask() {
  if (shown) save(`${stem()}_mask.png`, await encodeMask(shown.prediction.mask));
}

function saveRecord() {
  if (!shown) return;
  const record = {
    path: shown.name,
    ...toRecord(shown.prediction, shown.milliseconds, measuresOf(shown)),
    mask_file: `${stem()}_mask.png`,
    // Only where it is not the model's own.
    ...(threshold.valueAsNumber === THRESHOLD ? {} : { threshold: threshold.valueAsNumber }),
  };
  const text = `[\n${JSON.stringify(record)}\n]\n`;
  save(`${stem()}_predictions.json`, new Blob([text], { type: 'application/json' }));
}

function stem() {
  return shown?.name.replace(/\.[^.]+$/, '') ?? '';
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
  const file = /** @type {HTMLInputElement} */ (find('file'));
  file.addEventListener('change', () => {
    openFiles(file.files);
    file.value = '';
  });
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    openFiles(event.dataTransfer?.files);
  });
  document.addEventListener('paste', (event) => {
    openFiles(event.clipboardData?.files);
  });
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
}

start();
