/** Runs the model apart from the page: `network.js` is its other end. */

import { loadModel } from './model.js';

/** @type {Promise<import('./model.js').Model>} */
let model;

self.onmessage = async ({ data }) => {
  try {
    if (data.base) {
      model = loadModel(data.base, data.accelerator);
      const { height, width, runtime } = await model;
      self.postMessage({ height, width, runtime });
    } else {
      const { run } = await model;
      const start = performance.now();
      const outputs = await run(data.pixels);
      self.postMessage({ outputs, milliseconds: performance.now() - start });
    }
  } catch (error) {
    self.postMessage({ error: error instanceof Error ? error.message : String(error) });
  }
};
