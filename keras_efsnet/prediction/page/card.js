/** The card of one image. */

const template = /** @type {HTMLTemplateElement} */ (document.getElementById('card'));

/** @param {Entry} entry */
function makeCard(entry) {
  const content = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
  const card = /** @type {HTMLLIElement} */ (content.firstElementChild);
  /** @param {string} selector */
  const find = (selector) => /** @type {HTMLElement} */ (card.querySelector(selector));
  find('.class').textContent = describeClass(entry);
  find('.size').textContent = describeSize(entry);
  find('.name').textContent = nameOf(entry);
  if (!isReferred(entry)) find('.tag').remove();
  if (entry.probabilities) {
    card.dataset.class = entry.class ?? '';
    if ('malignant' in entry.probabilities) {
      find('i').style.width = `${100 * malignantOf(entry)}%`;
      find('b').textContent = percent(malignantOf(entry));
    } else {
      find('.malignant').remove();
    }
    showThumbnail(/** @type {HTMLImageElement} */ (find('img')), entry);
  } else {
    card.className = 'failed';
    find('.malignant').remove();
    find('.thumb').textContent = entry.error ?? 'No result.';
  }
  return card;
}

/**
 * @param {HTMLImageElement} image
 * @param {Entry} entry
 */
function showThumbnail(image, entry) {
  const frame = /** @type {HTMLElement} */ (image.parentElement);
  if (entry.ratio) frame.style.setProperty('--ratio', String(entry.ratio));
  image.addEventListener('error', () => frame.replaceWith('The overlay file is missing.'));
  image.src = entry.files.overlay ?? '';
}
