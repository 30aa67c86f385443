/**
 * The list of files that were opened together, predicted one after another: a row for each
 * image, and so for each frame of a file with several.
 *
 * A row keeps its file and its record, not its pixels: the file is read again when the
 * row is shown.
 *
 * @typedef {import('./files.js').Source} Source
 * @typedef {import('./records.js').Entry} Entry
 * @typedef {{record: Entry, frames: number}} Answer
 *   `frames`: that the file has.
 * @typedef {{
 *   source: Source,
 *   line: HTMLTableRowElement,
 *   asked?: Promise<Answer>,
 *   record?: Entry,
 * }} Row
 *   `record`: missing before the image is predicted.
 * @typedef {{
 *   note: string,
 *   hasRule: boolean,
 *   predict: (source: Source) => Promise<Answer>,
 *   signal: AbortSignal,
 * }} Run
 *   `hasRule`: the card says when to refer.
 */

import { titleOf } from './files.js';
import { find } from './page-parts.js';
import { toCsv, toJson } from './records.js';
import { percent } from './result.js';

const template = /** @type {HTMLTemplateElement} */ (find('row'));

/** @type {Row[]} */
let rows = [];
/** @type {Row | undefined} the one in full above */
let chosen;
/** @type {(source: Source) => void} */
let show = () => {};

/**
 * @param {(source: Source) => void} showSource shows a file in full
 * @param {(name: string, content: Blob) => void} save
 */
export function connectList(showSource, save) {
  show = showSource;
  find('rows').addEventListener('click', ({ target }) => {
    const line = /** @type {Element} */ (target).closest('tr');
    choose(rows.find((row) => row.line === line));
  });
  find('rows').addEventListener('keydown', moveByKey);
  find('save-csv').addEventListener('click', () => {
    save('predictions.csv', new Blob([toCsv(recordsOf(rows))], { type: 'text/csv' }));
  });
  find('save-all').addEventListener('click', () => {
    const content = new Blob([toJson(recordsOf(rows))], { type: 'application/json' });
    save('predictions.json', content);
  });
}

/**
 * Lists files and predicts them until all are done or it is stopped. The first one that
 * can be read is shown, unless another is chosen meanwhile.
 *
 * @param {Source[]} sources
 * @param {Run} run
 */
export async function fillList(sources, run) {
  rows = sources.map(makeRow);
  chosen = undefined;
  find('rows').replaceChildren(...rows.map(({ line }) => line));
  setTabStop(rows[0]);
  find('list').hidden = false;
  showState(run, true);
  run.signal.addEventListener('abort', () => showState(run, false), { once: true });
  for (let at = 0; at < rows.length; at++) {
    // While the network works on one image, the next is read.
    for (const row of rows.slice(at, at + 2)) row.asked ??= ask(row, run);
    const row = rows[at];
    const answer = await row.asked;
    if (run.signal.aborted || !answer) return;
    row.record = answer.record;
    if (!row.source.frame) addFrames(at, answer.frames);
    fillLine(row, run.hasRule);
    if (!chosen && !answer.record.error) choose(row);
    showState(run, at + 1 < rows.length);
  }
}

/**
 * Adds the other frames of a file with several below its first.
 *
 * @param {number} at place of the first
 * @param {number} frames
 */
function addFrames(at, frames) {
  if (frames === 1) return;
  const row = rows[at];
  row.source = { ...row.source, frame: 1 };
  buttonOf(row).textContent = titleOf(row.source.path, 1);
  const others = Array.from({ length: frames - 1 }, (_, i) =>
    makeRow({ ...row.source, frame: i + 2 }),
  );
  rows.splice(at + 1, 0, ...others);
  row.line.after(...others.map(({ line }) => line));
  for (const other of others) buttonOf(other).tabIndex = -1;
}

/** No row is the one in full: another source is. */
export function leaveList() {
  mark(undefined);
}

/**
 * @param {Row} row
 * @param {Run} run
 * @returns {Promise<Answer>}
 */
async function ask({ source }, { predict }) {
  try {
    return await predict(source);
  } catch (error) {
    const { path, frame } = source;
    const problem = error instanceof Error ? error.message : String(error);
    return { record: { path, ...(frame && { frame }), error: problem }, frames: 1 };
  }
}

/** @param {Row | undefined} row */
function choose(row) {
  if (!row || row === chosen) return;
  mark(row);
  setTabStop(row);
  show(row.source);
}

/** @param {Row | undefined} row */
function mark(row) {
  if (chosen) buttonOf(chosen).ariaCurrent = null;
  if (row) buttonOf(row).ariaCurrent = 'true';
  chosen = row;
}

/** @param {KeyboardEvent} event */
function moveByKey(event) {
  const at = rows.findIndex((row) => row.line.contains(document.activeElement));
  const last = rows.length - 1;
  const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: last }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  const row = rows[Math.max(0, Math.min(to, last))];
  choose(row);
  buttonOf(row).focus();
}

/** @param {Row} row the one that the Tab key reaches */
function setTabStop(row) {
  for (const other of rows) buttonOf(other).tabIndex = other === row ? 0 : -1;
}

/** @param {Row} row */
function buttonOf({ line }) {
  return line.getElementsByTagName('button')[0];
}

/**
 * @param {Source} source
 * @returns {Row}
 */
function makeRow(source) {
  const content = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
  const line = /** @type {HTMLTableRowElement} */ (content.firstElementChild);
  line.getElementsByTagName('button')[0].textContent = titleOf(source.path, source.frame);
  return { source, line };
}

/**
 * @param {Row} row
 * @param {boolean} hasRule
 */
function fillLine({ line, record, source }, hasRule) {
  if (!record) return;
  const [, ...cells] = line.cells;
  if (record.error) {
    for (const cell of cells.slice(1)) cell.remove();
    cells[0].colSpan = cells.length;
    cells[0].className = 'problem';
    cells[0].textContent = record.error.replace(`${source.path}: `, '');
    return;
  }
  const { class: label, probabilities, lesion_fraction: share, refer } = record;
  const none = '–';
  const words = [
    label === null ? none : `${label} ${percent(probabilities[label])}`,
    'malignant' in probabilities ? percent(probabilities.malignant) : none,
    share === null ? none : percent(share, 1),
    hasRule ? refer.join(', ') || 'no' : none,
  ];
  line.dataset.class = label ?? '';
  cells.forEach((cell, i) => {
    cell.textContent = words[i];
  });
  cells[0].classList.add('class');
  cells[3].classList.toggle('raised', refer.length > 0);
}

/**
 * @param {Run} run
 * @param {boolean} isRunning a screen reader is not told every file
 */
function showState({ note, signal, hasRule }, isRunning) {
  const records = recordsOf(rows);
  const errors = records.filter(({ error }) => error).length;
  const referred = records.filter(({ refer }) => refer?.length).length;
  const parts = [
    `${records.length} of ${rows.length} images`,
    ...(hasRule ? [`${referred} to refer to a person`] : []),
    ...(errors ? [`${errors} not read`] : []),
    ...(note ? [note] : []),
  ];
  const status = find('list-status');
  status.ariaLive = isRunning ? 'off' : 'polite';
  status.textContent = `${signal.aborted && records.length < rows.length ? 'Stopped: ' : ''}${parts.join(', ')}.`;
  const progress = /** @type {HTMLProgressElement} */ (find('list-progress'));
  progress.hidden = !isRunning;
  progress.max = rows.length;
  progress.value = records.length;
  for (const id of ['save-csv', 'save-all']) {
    find(id).toggleAttribute('disabled', !records.length);
  }
}

/**
 * @param {Row[]} rows
 * @returns {Entry[]} of those that are done
 */
function recordsOf(rows) {
  return rows.flatMap(({ record }) => record ?? []);
}
