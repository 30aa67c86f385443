/**
 * The files that are opened together, in the order of `efsnet predict`: a port of
 * `keras_efsnet/prediction/planning.py` and `images/mask_names.py`.
 *
 * @typedef {{file: File, path: string, frame?: number}} Source
 *   `path`: the file's name, with its folders if it was opened with a folder. `frame`: from
 *   1, of a file with several; the first one if it is missing.
 */

export const DICOM_SUFFIXES = ['dcm', 'dicom'];
export const PICTURE_SUFFIXES = ['png', 'jpg', 'jpeg', 'bmp', 'tif', 'tiff'];

const MASK =
  /^(.*)(?<!\p{L})(?:masks?|masken?|masques?|maskers?|mascher[ae]|m(?:\xe1|a\u0301?)scaras?)(?!\p{L})(.*)$/isu;
const IMAGE_FOLDERS = ['images', 'image', 'imgs', 'img', 'scans'];
const MASK_FOLDERS = ['masks', 'mask', 'segmentations', 'groundtruth', 'gt', 'labels'];

/**
 * Files that were chosen one by one: all, as they come.
 *
 * @param {Iterable<File>} files
 * @returns {Source[]}
 */
export function listFiles(files) {
  return [...files].map((file) => ({ file, path: file.name }));
}

/**
 * The images of a folder that was chosen.
 *
 * @param {Iterable<File>} files all that it holds
 * @returns {Source[]}
 */
export function listFolder(files) {
  // A browser that opens no folders lets files be chosen, without a path.
  const pathOf = (/** @type {File} */ file) => file.webkitRelativePath || file.name;
  return keepImages([...files].map((file) => ({ file, path: pathOf(file) })));
}

/**
 * The files and the images of the folders that were dropped.
 *
 * @param {DataTransfer} transfer of the event, which only has it while it is handled
 * @returns {Promise<Source[]>}
 */
export async function listDropped({ items }) {
  const dropped = [...items]
    .filter(({ kind }) => kind === 'file')
    .map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }));
  const sources = dropped.map(async ({ entry, file }) => {
    if (entry?.isDirectory) return keepImages(await walk(entry));
    return file ? listFiles([file]) : [];
  });
  return (await Promise.all(sources)).flat();
}

/**
 * Takes the files out that are masks by their names or folders.
 *
 * @param {Source[]} sources
 */
export function leaveOutMasks(sources) {
  const folders = new Set(sources.flatMap(({ path }) => foldersOf(path).map(plain)));
  const holdsMasks = (/** @type {string} */ folder) => {
    const [, above, name] = /** @type {RegExpExecArray} */ (/^(.*\/)(.*)$/s.exec(plain(folder)));
    return MASK_FOLDERS.includes(name) && IMAGE_FOLDERS.some((other) => folders.has(above + other));
  };
  const images = sources.filter(
    ({ path }) => !isMaskName(path) && !foldersOf(path).some(holdsMasks),
  );
  return { images, masks: sources.length - images.length };
}

/** @param {string} path */
function isMaskName(path) {
  const [, before, after] = MASK.exec(stemOf(path)) ?? [];
  return Boolean(before || after);
}

/**
 * @param {string} path
 * @returns {string[]} the folders that hold the file, without the one that was opened
 */
function foldersOf(path) {
  const parts = path.split('/').slice(0, -1);
  return parts.slice(1).map((_, i) => parts.slice(0, i + 2).join('/'));
}

/**
 * @param {string} folder
 * @returns {string} in small letters, without nnU-Net's `Tr` or `Ts`
 */
function plain(folder) {
  return folder.toLowerCase().replace(/(tr|ts)$/, '');
}

/**
 * @param {string} path
 * @param {number | null} [frame]
 */
export function titleOf(path, frame) {
  return frame ? `${path}, frame ${frame}` : path;
}

/** @param {string} path */
export function stemOf(path) {
  return nameOf(path).replace(/(?<=.)\.[^.]*$/s, '');
}

/**
 * @param {string} path
 * @returns {string} in lower case, without the dot
 */
export function suffixOf(path) {
  return /(?<=.)\.([^.]*)$/s.exec(nameOf(path))?.[1].toLowerCase() ?? '';
}

/** @param {string} path */
function nameOf(path) {
  return path.split('/').at(-1) ?? '';
}

/** @param {Source[]} sources of one folder */
function keepImages(sources) {
  const suffixes = [...PICTURE_SUFFIXES, ...DICOM_SUFFIXES];
  return sources
    .filter(({ path }) => !nameOf(path).startsWith('.') && suffixes.includes(suffixOf(path)))
    .sort((one, other) => compareParts(one.path.split('/'), other.path.split('/')));
}

/**
 * The order of Python's paths: folder by folder, by the letters' codes.
 *
 * @param {string[]} one
 * @param {string[]} other
 */
function compareParts(one, other) {
  const at = one.findIndex((part, i) => part !== other[i]);
  return at < 0 ? one.length - other.length : one[at] < (other[at] ?? '') ? -1 : 1;
}

/**
 * @param {FileSystemEntry} entry
 * @returns {Promise<Source[]>} all files in it
 */
async function walk(entry) {
  if (entry.isFile) return [await openEntry(/** @type {FileSystemFileEntry} */ (entry))];
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  /** @type {FileSystemEntry[]} */
  const entries = [];
  // Each call gives some of them, the last one none.
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break;
    entries.push(...some);
  }
  return (await Promise.all(entries.map(walk))).flat();
}

/**
 * @param {FileSystemFileEntry} entry
 * @returns {Promise<Source>}
 */
function openEntry(entry) {
  const path = entry.fullPath.replace(/^\//, '');
  return new Promise((resolve, reject) => {
    entry.file((file) => resolve({ file, path }), reject);
  });
}
