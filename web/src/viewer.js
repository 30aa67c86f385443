/**
 * Zoom and pan of the picture, by wheel, pointers, keys and buttons.
 *
 * The image is moved and scaled in the picture's window, which keeps its size. Lengths
 * are fractions of the window, so that they hold where the page changes its width.
 *
 * @typedef {{x: number, y: number}} Place in the window
 */

import { find } from './page-parts.js';

/** Largest zoom; 1 shows the whole image. */
const MOST = 16;

/** Zoom of a button or key. */
const STEP = 1.25;

/** What an arrow key moves. */
const MOVE = 0.1;

/** Zoom of a pixel that the wheel turns; a pinch on a touchpad turns it by less. */
const WHEEL = { wheel: 1.002, pinch: 1.01 };

/** Pixels of a line, where a wheel turns by lines. */
const LINE = 16;

/** What a key does: zooms by a factor, or moves. @type {Record<string, {zoom?: number, move?: [number, number]}>} */
const KEYS = {
  '+': { zoom: STEP },
  '=': { zoom: STEP },
  '-': { zoom: 1 / STEP },
  0: { zoom: 0 },
  ArrowLeft: { move: [MOVE, 0] },
  ArrowRight: { move: [-MOVE, 0] },
  ArrowUp: { move: [0, MOVE] },
  ArrowDown: { move: [0, -MOVE] },
};

const MIDDLE = { x: 0.5, y: 0.5 };

const picture = find('picture');

/** The image's upper left corner in the window, and its size. */
let view = { x: 0, y: 0, scale: 1 };

/** Pointers that are down. @type {Map<number, Place>} */
const pointers = new Map();

/** Shows the whole image. */
export function resetView() {
  zoom(0);
}

/**
 * @param {number} factor
 * @param {Place} from
 * @param {Place} to where the part of the image at `from` comes
 */
function zoom(factor, from = MIDDLE, to = from) {
  const scale = Math.min(Math.max(view.scale * factor, 1), MOST);
  const growth = scale / view.scale;
  show(to.x - (from.x - view.x) * growth, to.y - (from.y - view.y) * growth, scale);
}

/**
 * Leaves no gap between the image and the window's edges.
 *
 * @param {number} x
 * @param {number} y
 * @param {number} scale
 */
function show(x, y, scale) {
  const inside = (/** @type {number} */ at) => Math.min(Math.max(at, 1 - scale), 0);
  view = { x: inside(x), y: inside(y), scale };
  const isZoomed = scale > 1;
  const transform = `translate(${100 * view.x}%, ${100 * view.y}%) scale(${scale})`;
  picture.style.setProperty('--zoomed', isZoomed ? transform : 'none');
  picture.classList.toggle('is-zoomed', isZoomed);
  find('zoom').textContent = `${Math.round(100 * scale)} %`;
}

/** @param {MouseEvent} event */
function placeOf({ clientX, clientY }) {
  const { left, top, width, height } = picture.getBoundingClientRect();
  return { x: (clientX - left) / width, y: (clientY - top) / height };
}

/** @param {WheelEvent} event */
function turnWheel(event) {
  // Where the whole image is shown, the page scrolls on.
  if (view.scale === 1 && event.deltaY > 0) return;
  event.preventDefault();
  const pixels = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE * event.deltaY : event.deltaY;
  // Browsers report a pinch on a touchpad as a wheel with the control key.
  zoom((event.ctrlKey ? WHEEL.pinch : WHEEL.wheel) ** -pixels, placeOf(event));
}

/** @param {PointerEvent} event */
function press(event) {
  if (event.button !== 0) return;
  picture.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, placeOf(event));
}

/** @param {PointerEvent} event */
function drag(event) {
  if (!pointers.has(event.pointerId)) return;
  const before = span();
  pointers.set(event.pointerId, placeOf(event));
  const after = span();
  zoom(before.length ? after.length / before.length : 1, before, after);
}

/** The middle of the pointers and the distance of two. */
function span() {
  const [one, other = one] = pointers.values();
  const { width, height } = picture.getBoundingClientRect();
  const length = Math.hypot((other.x - one.x) * width, (other.y - one.y) * height);
  return { x: (one.x + other.x) / 2, y: (one.y + other.y) / 2, length };
}

/** @param {PointerEvent} event */
function release({ pointerId }) {
  pointers.delete(pointerId);
}

/** @param {KeyboardEvent} event */
function pressKey(event) {
  const action = KEYS[event.key];
  if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
  // Where the whole image is shown, arrows scroll the page.
  if (action.move && view.scale === 1) return;
  event.preventDefault();
  const { zoom: factor = 1, move: [x, y] = [0, 0] } = action;
  zoom(factor, MIDDLE, { x: MIDDLE.x + x, y: MIDDLE.y + y });
}

/** Listens to the picture and its buttons. */
export function connectViewer() {
  picture.addEventListener('wheel', turnWheel, { passive: false });
  picture.addEventListener('pointerdown', press);
  picture.addEventListener('pointermove', drag);
  for (const end of /** @type {const} */ (['pointerup', 'pointercancel'])) {
    picture.addEventListener(end, release);
  }
  picture.addEventListener('dblclick', resetView);
  picture.addEventListener('keydown', pressKey);
  find('zoom-in').addEventListener('click', () => zoom(STEP));
  find('zoom-out').addEventListener('click', () => zoom(1 / STEP));
  find('zoom-reset').addEventListener('click', resetView);
  resetView();
}
