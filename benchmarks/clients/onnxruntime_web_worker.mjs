// ONNX Runtime Web in Node.js: WebAssembly, one thread. Writes what common.py writes.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const RUNS = 40;
const [packageFolder, file, imagesFile, out] = process.argv.slice(2);
const require = createRequire(resolve(packageFolder, 'package.json'));
const ort = require('onnxruntime-web');

ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(file), {
  executionProviders: ['wasm'],
});

/** Reads a NumPy file of uint8, (n, height, width). */
function readImages(path) {
  const bytes = readFileSync(path);
  const start = 10 + bytes.readUInt16LE(8);
  const header = bytes.toString('latin1', 10, start);
  const shape = header.match(/\(([\d, ]+)\)/)[1].split(',').map(Number);
  return { shape, pixels: new Uint8Array(bytes.subarray(start)) };
}

/** Writes a NumPy file of float32. */
function writeArray(path, shape, values) {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(', ')}), }`;
  const header = text.padEnd(128 - 10 - 1) + '\n';
  const start = Buffer.alloc(10);
  start.write('\x93NUMPY\x01\x00', 'latin1');
  start.writeUInt16LE(header.length, 8);
  const data = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  writeFileSync(path, Buffer.concat([start, Buffer.from(header, 'latin1'), data]));
}

const { shape, pixels } = readImages(imagesFile);
const [count, height, width] = shape;
const size = height * width;
const image = (i) =>
  new ort.Tensor('float32', Float32Array.from(pixels.subarray(i * size, (i + 1) * size)), [
    1, height, width, 1,
  ]);
const masks = new Float32Array(count * size);
const labels = [];
for (let i = 0; i < count; i += 1) {
  const found = await session.run({ image: image(i) });
  masks.set(found.mask.data, i * size);
  labels.push(...found.class.data);
}
writeArray(join(out, 'mask.npy'), shape, masks);
writeArray(join(out, 'class.npy'), [count, labels.length / count], Float32Array.from(labels));

const times = [];
for (let i = 0; i < RUNS; i += 1) {
  const start = performance.now();
  await session.run({ image: image(0) });
  times.push((performance.now() - start) / 1000);
}
times.sort((a, b) => a - b);
const facts = { version: ort.env.versions.web, seconds: times[RUNS / 2] };
writeFileSync(join(out, 'facts.json'), JSON.stringify(facts));
