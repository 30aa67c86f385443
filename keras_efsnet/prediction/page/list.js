/**
 * The cards of the images that are shown, and the arrow keys between them.
 *
 * Only the cards near the window are in the document: thousands would make each scroll
 * and sort slow.
 */

/** What is drawn above and below the window, in heights of the window. */
const REACH = 1;

const list = /** @type {HTMLUListElement} */ (byId('list'));

/** @type {Entry[]} */
let shown = [];

/** The place in `shown` that the Tab key reaches. */
let current = 0;

/** The cards in the document, by their places in `shown`. @type {Map<number, HTMLLIElement>} */
const cards = new Map();

/**
 * Shows these images in this order.
 *
 * @param {Entry[]} entries
 */
function showEntries(entries) {
  shown = entries;
  current = 0;
  for (const place of [...cards.keys()]) removeCard(place);
  draw();
}

/** Draws the current card and those near the window, and removes the others. */
function draw() {
  const { columns, pitch, gap } = measureGrid();
  list.style.height = `${Math.ceil(shown.length / columns) * pitch - gap}px`;
  const first = placeAt(-REACH * innerHeight);
  const last = clamp(placeAt((1 + REACH) * innerHeight) + columns - 1);
  const wanted = new Set(shown.length ? [current] : []);
  for (let place = first; place <= last; place++) wanted.add(place);
  for (const place of cards.keys()) if (!wanted.has(place)) removeCard(place);
  [...wanted].sort((one, other) => one - other).forEach((place, at) => {
    const card = cards.get(place) ?? addCard(place, at);
    const column = (place % columns) + 1;
    card.style.gridColumn = `${column} / ${column + 1}`;
    card.style.top = `${Math.floor(place / columns) * pitch}px`;
    buttonOf(card).tabIndex = place === current ? 0 : -1;
  });
}

/** The Tab key reaches the first card in sight, until one has the focus. */
function follow() {
  if (!list.contains(document.activeElement)) current = placeAt(measureGrid().pitch / 2);
  draw();
}

/**
 * The first place of the row at this height of the window.
 *
 * @param {number} y
 */
function placeAt(y) {
  const { columns, pitch, top } = measureGrid();
  return clamp(Math.floor((y - top) / pitch) * columns);
}

/** The grid as the style sheet makes it, in pixels; `top` is its place in the window. */
function measureGrid() {
  const style = getComputedStyle(list);
  const gap = parseFloat(style.rowGap);
  return {
    columns: style.gridTemplateColumns.split(' ').length,
    pitch: parseFloat(style.gridAutoRows) + gap,
    gap,
    top: list.getBoundingClientRect().top,
  };
}

/** @param {number} place */
function clamp(place) {
  return Math.max(0, Math.min(place, shown.length - 1));
}

/**
 * @param {number} place in `shown`
 * @param {number} at place among the cards in the document
 */
function addCard(place, at) {
  const card = makeCard(shown[place]);
  card.ariaPosInSet = String(place + 1);
  card.ariaSetSize = String(shown.length);
  cards.set(place, card);
  list.insertBefore(card, list.children[at] ?? null);
  return card;
}

/** @param {number} place */
function removeCard(place) {
  const card = cards.get(place);
  card?.querySelector('img')?.removeAttribute('src'); // ends its reading
  card?.remove();
  cards.delete(place);
}

/** @param {HTMLLIElement} card */
function buttonOf(card) {
  return /** @type {HTMLButtonElement} */ (card.firstElementChild);
}

/**
 * Moves the focus to the card at a place, and scrolls there if it is out of sight.
 *
 * @param {number} place
 */
function focusPlace(place) {
  const { columns, pitch, top } = measureGrid();
  const start = top + Math.floor(place / columns) * pitch;
  const covered = parseFloat(getComputedStyle(list).scrollMarginTop);
  if (start < covered) scrollBy(0, start - covered);
  else scrollBy(0, Math.max(0, start + pitch - innerHeight));
  current = place;
  draw();
  const card = cards.get(place);
  if (card) buttonOf(card).focus({ preventScroll: true });
}

/** @param {KeyboardEvent} event */
function moveFocus(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const { columns } = measureGrid();
  const last = shown.length - 1;
  /** @type {Record<string, number>} */
  const goals = {
    ArrowLeft: current - 1,
    ArrowRight: current + 1,
    ArrowUp: current - columns,
    ArrowDown: current + columns,
    Home: 0,
    End: last,
  };
  const goal = goals[event.key];
  if (goal === undefined) return;
  event.preventDefault();
  if (goal >= 0 && goal <= last) focusPlace(goal);
}

/** @param {MouseEvent} event */
function openCard(event) {
  const card = /** @type {Element} */ (event.target).closest('li');
  for (const [place, known] of cards) {
    if (known !== card) continue;
    current = place;
    openView(place);
  }
}

list.addEventListener('keydown', moveFocus);
list.addEventListener('click', openCard);
addEventListener('scroll', follow, { passive: true });
addEventListener('resize', follow);
