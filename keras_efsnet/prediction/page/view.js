/** One image in full: the overlay, the measurements and the files. */

const FILES = {
  overlay: 'Overlay',
  mask: 'Mask',
  probability: 'Probability map',
  seg: 'DICOM SEG',
  sr: 'DICOM SR',
};

const view = /** @type {HTMLDialogElement} */ (byId('view'));

/** The place in `shown` of the image that is viewed. */
let viewed = 0;

/** @param {number} place in `shown` */
function openView(place) {
  showInView(place);
  view.showModal();
}

/** @param {number} place */
function showInView(place) {
  viewed = place;
  const entry = shown[place];
  byId('view-name').textContent = nameOf(entry);
  byId('place').textContent = `${place + 1} of ${shown.length}`;
  /** @type {HTMLButtonElement} */ (byId('previous')).disabled = place === 0;
  /** @type {HTMLButtonElement} */ (byId('next')).disabled = place === shown.length - 1;
  showPicture(entry);
  byId('summary').dataset.class = entry.class ?? '';
  byId('summary').textContent = [describeClass(entry), describeSize(entry)].filter(Boolean).join(', ');
  byId('bars').replaceChildren(...CLASSES.map((label) => makeBar(entry, label)));
  byId('bars').hidden = !entry.class;
  showRefer(entry);
  byId('measurements').replaceChildren(makeTable(entry.lesions ?? []));
  byId('measurements').hidden = !entry.lesions?.length;
  byId('files').replaceChildren(...makeLinks(entry));
  const frame = entry.frame === undefined ? '' : `, frame ${entry.frame}`;
  const time = entry.milliseconds === undefined ? '' : `, predicted in ${entry.milliseconds.toFixed(0)} ms`;
  byId('path').textContent = `Input: ${entry.path}${frame}${time}`;
}

/** @param {Entry} entry */
function showPicture(entry) {
  const image = /** @type {HTMLImageElement} */ (byId('overlay'));
  image.removeAttribute('src'); // else the last one stays until this one is read
  image.alt = `Overlay of ${nameOf(entry)}`;
  const picture = /** @type {HTMLElement} */ (image.parentElement);
  picture.hidden = !entry.files.overlay;
  if (entry.files.overlay) image.src = entry.files.overlay;
}

/**
 * @param {Entry} entry
 * @param {string} label
 */
function makeBar(entry, label) {
  const share = entry.probabilities?.[label] ?? 0;
  const track = make('span', { className: 'track', ariaHidden: 'true' }, make('i'));
  /** @type {HTMLElement} */ (track.firstElementChild).style.width = `${100 * share}%`;
  const className = label === entry.class ? 'first' : '';
  return make('li', { className }, make('span', {}, label), track, make('b', {}, percent(share)));
}

/** @param {Entry} entry */
function showRefer(entry) {
  const refer = byId('refer');
  refer.classList.toggle('raised', isReferred(entry));
  refer.classList.toggle('problem', !entry.probabilities);
  if (isReferred(entry)) refer.replaceChildren('Refer to a person', listReasons(entry.refer ?? []));
  else if (!entry.probabilities) refer.textContent = entry.error ?? 'No result.';
  else if (data.refers) refer.textContent = 'No rule fired. The model can still be wrong.';
  else refer.textContent = 'This model has no rule that refers images. It can be wrong.';
}

/** @param {string[]} reasons */
function listReasons(reasons) {
  const items = reasons.map((reason) =>
    make('li', {}, make('b', {}, reason), data.advice[reason] ? `: ${data.advice[reason]}` : ''),
  );
  return make('ul', {}, ...items);
}

/**
 * A table with a column for each lesion, without the rows that say nothing.
 *
 * @param {Lesion[]} lesions
 */
function makeTable(lesions) {
  /** @type {[string, (lesion: Lesion) => string | undefined][]} */
  const rows = [
    ['longest diameter', (lesion) => inUnit(lesion, 'longest_diameter')],
    ['perpendicular diameter', (lesion) => inUnit(lesion, 'perpendicular_diameter')],
    ['width', (lesion) => inUnit(lesion, 'width')],
    ['height', (lesion) => inUnit(lesion, 'height')],
    ['depth', (lesion) => inUnit(lesion, 'depth')],
    ['area', (lesion) => describe(lesion.area_mm2 ?? lesion.area_px, unitOf(lesion), '²')],
    ['orientation', (lesion) => lesion.orientation],
    ['circularity', (lesion) => lesion.circularity?.toFixed(2)],
    ['solidity', (lesion) => lesion.solidity?.toFixed(2)],
    ['mean probability', (lesion) => lesion.mean_probability?.toFixed(2)],
    ['followed as', (lesion) => lesion.track?.toString()],
  ];
  const heads = lesions.map(({ number }) => make('th', { scope: 'col' }, String(number)));
  const lines = [make('tr', {}, make('th', { scope: 'col' }, 'lesion'), ...heads)];
  for (const [name, cellOf] of rows) {
    const cells = lesions.map(cellOf);
    if (!cells.some(Boolean)) continue;
    lines.push(
      make('tr', {}, make('th', { scope: 'row' }, name), ...cells.map((cell) => make('td', {}, cell ?? ''))),
    );
  }
  return make('table', {}, ...lines);
}

/**
 * @param {Lesion} lesion
 * @param {string} name of a length
 */
function inUnit(lesion, name) {
  return describe(lesion[`${name}_${unitOf(lesion)}`], unitOf(lesion));
}

/**
 * @param {number | undefined} value
 * @param {'mm' | 'px'} unit
 * @param {string} [power] of millimetres
 */
function describe(value, unit, power = '') {
  if (value === undefined) return undefined;
  return unit === 'mm' ? `${value.toFixed(1)} mm${power}` : `${value.toFixed(0)} px`;
}

/** @param {Entry} entry */
function makeLinks(entry) {
  return Object.entries(FILES)
    .filter(([kind]) => entry.files[kind])
    .map(([kind, words]) => make('a', { href: entry.files[kind], target: '_blank' }, words));
}

/** @param {number} step */
function turn(step) {
  if (shown[viewed + step]) showInView(viewed + step);
}

byId('previous').addEventListener('click', () => turn(-1));
byId('next').addEventListener('click', () => turn(1));
byId('close').addEventListener('click', () => view.close());
view.addEventListener('close', () => focusPlace(viewed));
// A button that is disabled loses the focus, so the keys are the document's.
document.addEventListener('keydown', (event) => {
  const isTable = byId('measurements').contains(document.activeElement);
  if (!view.open || isTable || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === 'ArrowLeft') turn(-1);
  if (event.key === 'ArrowRight') turn(1);
});
