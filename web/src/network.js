/**
 * The network as the page sees it: grey image in, outputs back, in a worker.
 *
 * @typedef {import('./images.js').Grey} Grey
 * @typedef {{
 *   outputs: import('./prediction.js').Outputs,
 *   milliseconds: number,
 *   input: Grey,
 * }} Answer
 *   `input` is what the network saw, `milliseconds` what it took.
 * @typedef {{
 *   runtime: string,
 *   run: (grey: Grey) => Promise<Answer>,
 *   stop: () => void,
 * }} Network
 */

import { resizeImage } from './images.js';

/**
 * @param {'wasm' | 'webgpu'} accelerator
 * @returns {Promise<Network>}
 */
export async function startNetwork(accelerator) {
  const worker = new Worker(new URL('./worker.js', import.meta.url));
  const { height, width, runtime } = await ask(worker, {
    base: document.baseURI,
    accelerator,
  });
  /** @type {Promise<unknown>} */
  let last = Promise.resolve();
  return {
    runtime,
    run: (grey) => {
      const input = resizeImage(grey, height, width);
      const answer = last.then(() => ask(worker, { pixels: input.pixels }));
      // The next one waits also where this one fails.
      last = answer.catch(() => {});
      return answer.then(({ outputs, milliseconds }) => ({ outputs, milliseconds, input }));
    },
    stop: () => worker.terminate(),
  };
}

/**
 * @param {Worker} worker answers one message at a time
 * @param {object} message
 * @returns {Promise<any>}
 */
function ask(worker, message) {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) =>
      data.error ? reject(new Error(data.error)) : resolve(data);
    worker.onerror = (event) => reject(new Error(event.message || 'worker failed'));
    worker.postMessage(message);
  });
}
