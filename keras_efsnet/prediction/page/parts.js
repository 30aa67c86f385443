/** The records, and the page's elements. */

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return /** @type {T} */ (element);
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, unknown>} [properties]
 * @param {...(Node | string)} content texts stay texts, whatever they hold
 * @returns {HTMLElementTagNameMap[T]}
 */
function make(tag, properties = {}, ...content) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...content);
  return element;
}

/**
 * `refers`: the model has a rule. `advice`: by reason.
 *
 * @type {{entries: Entry[], refers: boolean, advice: Record<string, string>}}
 */
const data = JSON.parse(byId('data').textContent ?? '');

/** How much of each path is the folder that holds all images. */
const folderLength = commonFolder(data.entries.map(({ path }) => path)).length;

/** @param {string[]} paths */
function commonFolder([first = '', ...others]) {
  let length = first.length;
  for (const path of others) {
    let same = 0;
    while (same < length && path[same] === first[same]) same++;
    length = same;
  }
  return first.slice(0, length).replace(/[^/\\]*$/, '');
}

/** An image's name below the folder that holds all. @param {Entry} entry */
function nameOf({ path, frame }) {
  const name = path.slice(folderLength);
  return frame === undefined ? name : `${name}, frame ${frame}`;
}
