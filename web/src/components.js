/**
 * Connected components of a mask: a port of `keras_efsnet/components.py`.
 *
 * @typedef {import('./images.js').Grey} Grey
 * @typedef {[left: number, top: number, right: number, bottom: number]} Box
 *   Right and bottom are the first column and row past the component.
 * @typedef {{row: number, start: number, end: number}} Run
 *   Mask pixels beside one another in a row; `end` is the first one past them.
 */

/**
 * Finds the 8-connected components and drops the small ones.
 *
 * @param {Grey} mask of 0 and 1
 * @param {number} minimumArea components of fewer pixels are dropped
 * @returns {{mask: Grey, area: number, boxes: Box[], components: Run[][]}} the mask of
 *   what is left, its pixels, and the components' boxes and runs, largest area first
 */
export function splitComponents(mask, minimumArea) {
  const runs = findRuns(mask);
  const kept = group(runs, join(runs)).filter(({ area }) => area >= minimumArea);
  kept.sort((one, other) => other.area - one.area);
  return {
    mask: paint(mask, kept.flatMap((component) => component.runs)),
    area: kept.reduce((sum, component) => sum + component.area, 0),
    boxes: kept.map((component) => box(component.runs)),
    components: kept.map((component) => component.runs),
  };
}

/**
 * @param {Grey} mask
 * @returns {Run[]} in reading order
 */
function findRuns({ height, width, pixels }) {
  const runs = [];
  for (let row = 0; row < height; row++) {
    const line = pixels.subarray(row * width, (row + 1) * width);
    let start = line.indexOf(1);
    while (start >= 0) {
      const gap = line.indexOf(0, start);
      const end = gap < 0 ? width : gap;
      runs.push({ row, start, end });
      start = gap < 0 ? -1 : line.indexOf(1, end);
    }
  }
  return runs;
}

/**
 * @param {Run[]} runs
 * @returns {Int32Array} for each run the first run of its component
 */
function join(runs) {
  const parent = Int32Array.from(runs.keys());
  const root = (/** @type {number} */ run) => {
    while (parent[run] !== run) {
      parent[run] = parent[parent[run]];
      run = parent[run];
    }
    return run;
  };
  for (const [one, other] of touching(runs)) {
    const [low, high] = [root(one), root(other)].sort((a, b) => a - b);
    parent[high] = low;
  }
  return parent.map((_, run) => root(run));
}

/**
 * Pairs of runs that touch, at corners too, the first one a row above the second.
 *
 * @param {Run[]} runs
 * @returns {Generator<[number, number]>}
 */
function* touching(runs) {
  let above = 0;
  for (let below = 0; below < runs.length; below++) {
    const { row, start, end } = runs[below];
    while (
      runs[above].row < row - 1 ||
      (runs[above].row === row - 1 && runs[above].end < start)
    ) {
      above++;
    }
    for (let near = above; runs[near].row < row && runs[near].start <= end; near++) {
      yield [near, below];
    }
  }
}

/**
 * @param {Run[]} runs
 * @param {Int32Array} firsts
 * @returns {{area: number, runs: Run[]}[]} components in the order of their first runs
 */
function group(runs, firsts) {
  /** @type {Map<number, {area: number, runs: Run[]}>} */
  const components = new Map();
  runs.forEach((run, index) => {
    const component = components.get(firsts[index]) ?? { area: 0, runs: [] };
    component.area += run.end - run.start;
    component.runs.push(run);
    components.set(firsts[index], component);
  });
  return [...components.values()];
}

/**
 * @param {Run[]} runs of one component
 * @returns {Box}
 */
function box(runs) {
  let left = Infinity;
  let right = 0;
  for (const { start, end } of runs) {
    left = Math.min(left, start);
    right = Math.max(right, end);
  }
  return [left, runs[0].row, right, runs[runs.length - 1].row + 1];
}

/**
 * @param {Grey} mask for the size
 * @param {Run[]} runs
 * @returns {Grey}
 */
function paint({ height, width }, runs) {
  const pixels = new Uint8Array(height * width);
  for (const { row, start, end } of runs) {
    pixels.fill(1, row * width + start, row * width + end);
  }
  return { height, width, pixels };
}
