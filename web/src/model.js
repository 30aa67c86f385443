/**
 * The network in LiteRT.js. It runs in a worker, so that the page stays responsive.
 *
 * @typedef {import('./prediction.js').Outputs} Outputs
 * @typedef {{
 *   height: number,
 *   width: number,
 *   runtime: string,
 *   run: (pixels: Uint8Array) => Promise<Outputs>,
 * }} Model
 */

import { loadAndCompile, loadLiteRt, supportsFeature, Tensor } from '@litertjs/core';

/** More threads gain nothing for a network this small. */
const MOST_THREADS = 4;

/**
 * @param {string} base address of the page
 * @param {'wasm' | 'webgpu'} accelerator
 * @returns {Promise<Model>}
 */
export async function loadModel(base, accelerator) {
  // Threads need a page of its own origin alone, and this build relaxed SIMD.
  const isThreaded = self.crossOriginIsolated && (await supportsFeature('relaxedSimd'));
  await loadRuntime(new URL('litert/', base).href, isThreaded);
  const response = await fetch(new URL('model/model.tflite', base));
  if (!response.ok) throw new Error(`the model cannot be read (${response.status})`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  const threads = isThreaded ? Math.min(navigator.hardwareConcurrency, MOST_THREADS) : 1;
  const network = await loadAndCompile(bytes, {
    accelerator,
    cpuOptions: { numThreads: threads },
  });
  const [, height, width] = network.getInputDetails()[0].shape;
  // A network that WebGPU cannot run as a whole runs in WebAssembly.
  const isOnGpu = network.options.accelerator === 'webgpu';
  return {
    height,
    width,
    runtime: isOnGpu ? 'WebGPU' : describe(threads),
    run: (pixels) => run(network, pixels, height, width),
  };
}

/** @param {number} threads */
function describe(threads) {
  return threads > 1 ? `WebAssembly, ${threads} threads` : 'WebAssembly';
}

/**
 * @param {string} folder
 * @param {boolean} isThreaded
 */
async function loadRuntime(folder, isThreaded) {
  const script = `litert_wasm_${isThreaded ? 'threaded' : 'compat'}_internal.js`;
  // In a worker LiteRT.js would look for its files beside the worker's script.
  Object.assign(self, {
    Module: {
      locateFile: (/** @type {string} */ name) => folder + name,
      mainScriptUrlOrBlob: folder + script,
    },
  });
  await loadLiteRt(folder + script);
}

/**
 * @param {import('@litertjs/core').CompiledModel} network
 * @param {Uint8Array} pixels grey
 * @param {number} height
 * @param {number} width
 * @returns {Promise<Outputs>}
 */
async function run(network, pixels, height, width) {
  const image = new Tensor(Float32Array.from(pixels), [1, height, width, 1]);
  const outputs = await network.run({ image });
  const values = await outputs.mask.data();
  const classes = await outputs.class.data();
  for (const tensor of [image, outputs.mask, outputs.class]) tensor.delete();
  return {
    mask: { height, width, values: /** @type {Float32Array} */ (values) },
    classes: /** @type {Float32Array} */ (classes),
  };
}
