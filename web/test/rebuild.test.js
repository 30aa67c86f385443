/** The committed page is what the sources build. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

import { makeFolder } from './setting.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const COMMITTED = fileURLToPath(new URL('../../keras_efsnet/serve/page', import.meta.url));

test('a new build makes the same files', async () => {
  const outDir = join(await makeFolder(), 'web');
  await build({ root: ROOT, logLevel: 'error', build: { outDir } });
  const files = list(outDir);
  assert.deepEqual(list(COMMITTED), files);
  for (const file of files) {
    const isSame = readFileSync(join(COMMITTED, file)).equals(readFileSync(join(outDir, file)));
    assert.ok(isSame, `${file} differs: run npm run build in web/ and commit keras_efsnet/serve/page`);
  }
});

/** @param {string} folder */
function list(folder) {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return files.map(({ parentPath, name }) => join(parentPath, name).slice(folder.length)).sort();
}
