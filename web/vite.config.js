import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const LITERT = fileURLToPath(new URL('node_modules/@litertjs/core/wasm/', import.meta.url));

/** Threads and relaxed SIMD where the browser has both; the other runs everywhere. */
const BUILDS = ['threaded', 'compat'];

/** @returns {import('vite').Plugin} */
function copyRuntime() {
  let folder = '';
  return {
    name: 'copy-litert-runtime',
    configResolved: (config) => {
      folder = config.build.outDir;
    },
    closeBundle: () => {
      mkdirSync(`${folder}/litert`);
      for (const build of BUILDS) {
        for (const ending of ['js', 'wasm']) {
          const name = `litert_wasm_${build}_internal.${ending}`;
          // Copied by its content: the package's files are executable.
          writeFileSync(`${folder}/litert/${name}`, readFileSync(`${LITERT}${name}`));
        }
      }
    },
  };
}

export default defineConfig({
  base: './',
  build: {
    outDir: '../keras_efsnet/serve/page',
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: { polyfill: false },
    // Files of their own: the page's policy allows no data addresses.
    assetsInlineLimit: 0,
    rolldownOptions: {
      output: {
        entryFileNames: '[name].js',
        chunkFileNames: '[name].js',
        assetFileNames: '[name][extname]',
      },
    },
  },
  worker: {
    // LiteRT.js loads its script with importScripts, which module workers lack.
    format: 'iife',
    rolldownOptions: { output: { entryFileNames: '[name].js' } },
  },
  plugins: [copyRuntime()],
});
