/**
 * What the page knows of an image, and the orders and filters.
 *
 * @typedef {{[key: string]: any, number: number}} Lesion one of a record's `lesions`
 * @typedef {object} Entry
 *   A record of predictions.json with what is shown of it. Without `probabilities` the
 *   image failed.
 * @property {string} path of the input, as text
 * @property {number} [frame] from 1
 * @property {string} [error]
 * @property {string | null} [class] null if the model has none
 * @property {Record<string, number>} [probabilities] by class
 * @property {string[]} [refer] reasons
 * @property {boolean} [mask_emptied]
 * @property {number} [milliseconds]
 * @property {Lesion[]} [lesions] largest first; missing if the model has no mask
 * @property {string} [size] of the largest lesion, in words
 * @property {Record<string, string>} files relative addresses
 * @property {number} [ratio] width / height of the scan on the overlay
 */

/** The model's classes. */
const CLASSES = [...new Set(data.entries.flatMap((entry) => Object.keys(entry.probabilities ?? {})))];
const NO_CLASS = 'no class';
const FAILED = 'failed';

/** @param {Entry} entry */
const classOf = (entry) => (entry.probabilities ? (entry.class ?? NO_CLASS) : FAILED);

/** @param {Entry} entry */
const malignantOf = (entry) => entry.probabilities?.malignant ?? NaN;

/** @param {Entry} entry */
const isReferred = (entry) => Boolean(entry.refer?.length);

/**
 * @param {Lesion} lesion
 * @returns {'mm' | 'px'}
 */
const unitOf = (lesion) => ('longest_diameter_mm' in lesion ? 'mm' : 'px');

/**
 * The longest diameter of the largest lesion.
 *
 * @param {Entry} entry
 * @param {string} unit
 * @returns {number} NaN without a lesion in this unit
 */
const diameterOf = (entry, unit) => entry.lesions?.[0]?.[`longest_diameter_${unit}`] ?? NaN;

/** Lesions in pixels count less than those in millimetres. @param {Entry} entry */
function sizeRank(entry) {
  const [mm, px] = [diameterOf(entry, 'mm'), diameterOf(entry, 'px')];
  if (!Number.isNaN(mm)) return 1e6 + mm;
  return entry.probabilities && Number.isNaN(px) ? 0 : px;
}

/** What is sorted by; NaN comes last. @type {Record<string, (entry: Entry) => number>} */
const RANKS = {
  malignant: malignantOf,
  size: sizeRank,
  class: (entry) => (entry.probabilities ? CLASSES.indexOf(classOf(entry)) : NaN),
  refer: (entry) => (entry.probabilities ? Number(isReferred(entry)) : NaN),
};

/**
 * @param {Entry[]} entries
 * @param {string} order a rank and a way, such as "size-down"; "" leaves them as they are
 */
function sortEntries(entries, order) {
  const [name, way] = order.split('-');
  const rank = RANKS[name];
  if (!rank) return entries;
  const sign = way === 'down' ? -1 : 1;
  const ranked = entries.map((entry) => ({ entry, value: rank(entry) }));
  ranked.sort((one, other) => {
    const missing = Number(Number.isNaN(one.value)) - Number(Number.isNaN(other.value));
    return missing || sign * (one.value - other.value) || 0;
  });
  return ranked.map(({ entry }) => entry);
}

/**
 * @param {FormData} wanted the form's values; an empty one asks for nothing
 * @returns {(entry: Entry) => boolean}
 */
function makeFilter(wanted) {
  const classes = new Set(wanted.getAll('class'));
  const refer = text(wanted, 'refer');
  const unit = text(wanted, 'unit');
  const name = text(wanted, 'name').toLowerCase();
  const fitsMalignant = makeRange(wanted, 'malignant');
  const fitsSize = makeRange(wanted, 'size');
  return (entry) =>
    classes.has(classOf(entry)) &&
    fitsRefer(entry, refer) &&
    fitsMalignant(100 * malignantOf(entry)) &&
    fitsSize(diameterOf(entry, unit)) &&
    entry.path.toLowerCase().includes(name);
}

/**
 * @param {Entry} entry
 * @param {string} refer "", "any", "none" or a reason
 */
function fitsRefer(entry, refer) {
  if (!refer) return true;
  if (refer === 'none') return Boolean(entry.probabilities) && !isReferred(entry);
  return refer === 'any' ? isReferred(entry) : Boolean(entry.refer?.includes(refer));
}

/**
 * @param {FormData} wanted
 * @param {string} name
 * @returns {(value: number) => boolean} NaN fits only if no end is given
 */
function makeRange(wanted, name) {
  const [from, to] = ['from', 'to'].map((end) => text(wanted, `${name}-${end}`));
  return (value) => (!from || value >= Number(from)) && (!to || value <= Number(to));
}

/**
 * @param {FormData} wanted
 * @param {string} name
 */
function text(wanted, name) {
  return String(wanted.get(name) ?? '');
}

/** @param {number} fraction */
function percent(fraction) {
  return `${(100 * fraction).toFixed(0)} %`;
}

/** The class in words. @param {Entry} entry */
function describeClass(entry) {
  if (!entry.probabilities) return FAILED;
  return entry.class ? `${entry.class} ${percent(entry.probabilities[entry.class])}` : '';
}

/** The lesions in words. @param {Entry} entry */
function describeSize(entry) {
  if (entry.mask_emptied) return 'lesion removed from the mask';
  if (!entry.lesions) return '';
  const count = entry.lesions.length;
  if (!count) return 'no lesion';
  return count > 1 ? `${count} lesions, largest ${entry.size}` : String(entry.size);
}
