/**
 * Keeps one release of the page, whole, so that it works while the server is stopped.
 *
 * A release is a folder that is named for the digest of all its files, see
 * `keras_efsnet/serve/server.py`. So page, runtime and model are always of one release:
 * a file of another one has another address.
 */

const PREFIX = 'efsnet-';
const FOLDER = /^\/([0-9a-f]{16})\//;

self.addEventListener('install', (event) => {
  self.skipWaiting();
  event.waitUntil(fetch('/').then(({ url }) => keep(nameOf(url))));
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method !== 'GET') return;
  if (request.mode === 'navigate') event.respondWith(navigate(event));
  else if (nameOf(request.url)) event.respondWith(read(request));
});

/** Asks the server first: it may have a newer release. */
async function navigate(event) {
  try {
    const response = await fetch(event.request);
    // Of an address that leads to the release, the next request is for it.
    const release = nameOf(response.url);
    if (response.ok && release) event.waitUntil(keep(release));
    return response;
  } catch (error) {
    const kept = await findKept();
    if (!kept) throw error;
    return nameOf(event.request.url) === kept
      ? caches.match(`/${kept}/`)
      : Response.redirect(`/${kept}/`);
  }
}

async function read(request) {
  return (await caches.match(request)) ?? fetch(request);
}

/** Keeps all files of a release or none, then forgets the others. */
async function keep(release) {
  if (!(await caches.match(`/${release}/`))) {
    const names = await fetch(`/${release}/files.json`).then((file) => file.json());
    const cache = await caches.open(PREFIX + release);
    await cache.addAll(['', ...names].map((name) => `/${release}/${name}`));
  }
  const others = (await listCaches()).filter((name) => name !== PREFIX + release);
  await Promise.all(others.map((name) => caches.delete(name)));
}

/** The release that is kept whole. */
async function findKept() {
  const names = (await listCaches()).map((name) => name.slice(PREFIX.length));
  const found = await Promise.all(names.map((name) => caches.match(`/${name}/`)));
  return names.find((_, at) => found[at]);
}

async function listCaches() {
  return (await caches.keys()).filter((name) => name.startsWith(PREFIX));
}

function nameOf(url) {
  return url && FOLDER.exec(new URL(url).pathname)?.[1];
}
