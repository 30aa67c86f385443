/** Files and tables of a list against Python, without a browser. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

import { leaveOutMasks, listFolder } from '../src/files.js';
import { toCsv, toJson } from '../src/records.js';
import { PYTHON } from './setting.js';

const RECORDS = [
  {
    path: 'a, "b".png',
    class: 'benign',
    probabilities: { normal: 0.25, benign: 0.5, malignant: 0.25 },
    boxes: [[1, 2, 3, 4], [5, 6, 7, 8]],
    mask_emptied: true,
    refer: ['class unsure', 'mask margin low'],
    lesion_area_px: null,
    lesions: [{ number: 1 }],
  },
  { path: 'ä.png', frame: 1, error: 'ä.png: not an image,\nsays "nobody"' },
  { path: 'c.png', boxes: [], mask_emptied: false, lesion_area_px: 12 },
];

const WRITE = `
import json, sys
from pathlib import Path
from tempfile import TemporaryDirectory
from keras_efsnet.prediction.formats.csv_table import write_rows
with TemporaryDirectory() as folder:
    write_rows(Path(folder, "a.csv"), json.loads(sys.argv[1]))
    sys.stdout.buffer.write(Path(folder, "a.csv").read_bytes())
`;

test('the table is the one that Python writes', async () => {
  const { stdout } = await promisify(execFile)(PYTHON, ['-c', WRITE, JSON.stringify(RECORDS)]);
  assert.equal(toCsv(RECORDS), stdout);
  assert.equal(toCsv([]), 'path\n');
});

test('records are a line each', () => {
  assert.deepEqual(JSON.parse(toJson(RECORDS)), RECORDS);
  assert.equal(toJson(RECORDS).split('\n').length, RECORDS.length + 3);
});

const NAMES = [
  'set/b.png',
  'set/B.PNG',
  'set/a/z.dcm',
  'set/a.b/c.jpg',
  'set/a/10.tif',
  'set/a/2.bmp',
  'set/.hidden.png',
  'set/notes.txt',
  'set/clip.mp4',
  'set/b_mask.png',
  'set/b_mask_1.png',
  'set/masked.png',
  'set/a mask (1).png',
  'set/b_maskless.png',
  'set/none',
];

const PLAN = `
import json, sys
from pathlib import Path
from tempfile import TemporaryDirectory
from keras_efsnet.prediction.planning import plan_jobs
with TemporaryDirectory() as folder:
    for name in json.loads(sys.argv[1]):
        Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
        Path(folder, name).touch()
    jobs = plan_jobs([Path(folder, "set")], Path(folder, "out"))
    print(json.dumps([str(job.source.relative_to(folder)) for job in jobs]))
`;

test('of a folder, the images of efsnet predict are taken, in its order', async () => {
  const files = NAMES.map((name) => /** @type {any} */ ({ name, webkitRelativePath: name }));
  const { stdout } = await promisify(execFile)(PYTHON, ['-c', PLAN, JSON.stringify(NAMES)]);
  const { images, masks } = leaveOutMasks(listFolder(files));
  assert.deepEqual(images.map(({ path }) => path), JSON.parse(stdout));
  assert.equal(masks, 3);
});
