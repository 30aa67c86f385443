/** Reads the records and the form. */

const form = /** @type {HTMLFormElement} */ (byId('form'));
const controls = /** @type {HTMLDetailsElement} */ (byId('controls'));

function apply() {
  const wanted = new FormData(form);
  const found = data.entries.filter(makeFilter(wanted));
  showEntries(sortEntries(found, text(wanted, 'order')));
  byId('count').textContent = `${found.length} of ${data.entries.length} images`;
  byId('nothing').hidden = found.length > 0;
}

function fillForm() {
  const counts = countBy(data.entries.map(classOf));
  for (const label of [...CLASSES, NO_CLASS, FAILED].filter((name) => counts.get(name))) {
    const box = make('input', { type: 'checkbox', name: 'class', value: label, defaultChecked: true });
    byId('classes').append(make('label', {}, box, `${label} (${counts.get(label)})`));
  }
  const reasons = countBy(data.entries.flatMap((entry) => entry.refer ?? []));
  const choice = byId('refer-choice');
  offer('refer', data.refers || reasons.size > 0);
  offer('malignant', CLASSES.includes('malignant'));
  offer('size', data.entries.some(({ lesions }) => lesions));
  offer('class', CLASSES.length > 0);
  for (const [way, label] of [['down', CLASSES.at(-1)], ['up', CLASSES[0]]]) {
    for (const option of optionsOf(`class-${way}`)) option.textContent = `class, ${label} first`;
  }
  for (const [reason, count] of reasons) {
    choice.lastElementChild?.append(make('option', { value: reason }, `${reason} (${count})`));
  }
  const units = new Set(data.entries.flatMap((entry) => (entry.lesions ?? []).map(unitOf)));
  const [unit = 'px'] = [...units].sort();
  const select = /** @type {HTMLSelectElement} */ (form.elements.namedItem('unit'));
  for (const option of select.options) option.defaultSelected = option.value === unit;
  byId('unit-choice').hidden = units.size < 2;
  byId('unit').textContent = units.size === 1 ? `, ${unit}` : '';
}

/**
 * Hides a filter and its orders, if the model's records do not have it.
 *
 * @param {string} name
 * @param {boolean} isThere
 */
function offer(name, isThere) {
  const choice = document.getElementById(`${name}-choice`);
  if (choice) choice.hidden = !isThere;
  for (const option of optionsOf(name)) option.hidden = !isThere;
}

/**
 * The orders whose value begins so.
 *
 * @param {string} start
 * @returns {NodeListOf<HTMLOptionElement>}
 */
function optionsOf(start) {
  return form.querySelectorAll(`[name=order] option[value^="${start}"]`);
}

/**
 * @param {string[]} names
 * @returns {Map<string, number>}
 */
function countBy(names) {
  const counts = new Map();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

let isWaiting = false;

/** Once for all keys that come before the next picture. */
function applySoon() {
  if (!isWaiting) requestAnimationFrame(() => ((isWaiting = false), apply()));
  isWaiting = true;
}

fillForm();
controls.open = matchMedia('(min-width: 72rem)').matches;
form.addEventListener('input', applySoon);
form.addEventListener('reset', () => setTimeout(apply)); // after the values are reset
form.addEventListener('submit', (event) => event.preventDefault());
apply();
