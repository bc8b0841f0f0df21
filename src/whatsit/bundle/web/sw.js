// Keeps the page for use without a network. Its version changes with any file, so an update is taken as a whole.

const VERSION = '{{version}}';
const FILES = "{{files}}";
const PREFIX = `whatsit ${new URL(self.registration.scope).pathname} `;
const CACHE = PREFIX + VERSION;

self.addEventListener('install', (event) => {
  // `no-cache`: the browser's own cache is asked whether it has changed, so that nothing old is kept and nothing loaded twice.
  const requests = FILES.map((name) => new Request(name, { cache: 'no-cache' }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(requests)).then(() => self.skipWaiting()));
});

self.addEventListener('activate', (event) => {
  const isOld = (name) => name.startsWith(PREFIX) && name !== CACHE;
  event.waitUntil(caches.keys()
    .then((names) => Promise.all(names.filter(isOld).map((name) => caches.delete(name))))
    .then(() => self.clients.claim()));
});

self.addEventListener('fetch', (event) => {
  const address = new URL(event.request.url);
  if (event.request.method !== 'GET' || address.origin !== location.origin) return;
  if (address.pathname.endsWith('/')) address.pathname += 'index.html';
  address.search = '';
  event.respondWith(caches.open(CACHE)
    .then((cache) => cache.match(address.href))
    .then((kept) => kept ?? fetch(event.request)));
});
