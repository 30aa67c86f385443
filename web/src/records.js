/**
 * Records as files: a port of `keras_efsnet/prediction/formats/csv_table.py` and of
 * `write_records` in `prediction/writing.py`.
 *
 * @typedef {Record<string, any>} Entry
 *   An entry of predictions.json.
 */

/**
 * @param {Entry[]} records
 * @returns {string} predictions.json
 */
export function toJson(records) {
  return `[\n${records.map((record) => JSON.stringify(record)).join(',\n')}\n]\n`;
}

/**
 * @param {Entry[]} records
 * @returns {string} predictions.csv
 */
export function toCsv(records) {
  const rows = records.map(flatten);
  const columns = [...new Set(['path', ...rows.flatMap((row) => Object.keys(row))])];
  const lines = [columns, ...rows.map((row) => columns.map((name) => row[name] ?? ''))];
  return lines.map((cells) => `${cells.map(quote).join(',')}\n`).join('');
}

/**
 * @param {Entry} record
 * @returns {Record<string, string>} its cells: probabilities as p_<label>, no lesions
 */
function flatten({ lesions, ...record }) {
  const cells = Object.entries(record).flatMap(([name, value]) =>
    name === 'probabilities'
      ? Object.entries(value).map(([label, p]) => [`p_${label}`, spell(p)])
      : [[name, spell(value)]],
  );
  return Object.fromEntries(cells);
}

/**
 * @param {any} value
 * @returns {string} as Python spells it in a cell, where lists are JSON
 */
function spell(value) {
  if (value === null) return '';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (Array.isArray(value)) return toSpacedJson(value);
  return String(value);
}

/**
 * @param {any} value
 * @returns {string}
 */
function toSpacedJson(value) {
  return Array.isArray(value) ? `[${value.map(toSpacedJson).join(', ')}]` : JSON.stringify(value);
}

/** @param {string} cell */
function quote(cell) {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
