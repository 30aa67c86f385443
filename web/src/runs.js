/**
 * What runs on the page: one thing at a time, and beside a list that runs, a look at one of
 * its rows.
 *
 * @typedef {(signal: AbortSignal) => Promise<unknown>} Begin
 *   The signal says that something else has begun.
 */

import { find } from './page-parts.js';

let running = new AbortController();
let look = new AbortController();
let isListing = false;
let page = { clear: () => {}, leaveList: () => {} };

/** @param {typeof page} parts takes a result off the page, and the mark off a list's row */
export function connectRuns(parts) {
  page = parts;
}

/**
 * Ends what runs and begins something new; a failure is said on the page.
 *
 * @param {Begin} begin
 */
export function change(begin) {
  end();
  page.leaveList();
  return attempt(begin, running.signal);
}

/**
 * Ends the last look and begins another; only a list goes on meanwhile.
 *
 * @param {Begin} begin
 */
export function lookBeside(begin) {
  if (!isListing) end();
  look.abort();
  look = new AbortController();
  return attempt(begin, AbortSignal.any([running.signal, look.signal]));
}

/**
 * Runs a list, which Stop ends.
 *
 * @param {() => Promise<void>} list
 * @param {AbortSignal} signal
 */
export async function runList(list, signal) {
  isListing = true;
  find('stop').hidden = false;
  try {
    await list();
  } finally {
    if (!signal.aborted) settle();
  }
}

function end() {
  running.abort();
  running = new AbortController();
  settle();
}

function settle() {
  isListing = false;
  find('stop').hidden = true;
}

/**
 * @param {Begin} begin
 * @param {AbortSignal} signal
 */
async function attempt(begin, signal) {
  find('problem').textContent = '';
  try {
    await begin(signal);
  } catch (error) {
    if (signal.aborted) return;
    if (!isListing) settle();
    page.clear();
    find('problem').textContent = error instanceof Error ? error.message : String(error);
  }
}
