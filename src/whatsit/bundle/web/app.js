// The page: pictures and the camera in, answers out. What people see is set as text, never as HTML.

import { load } from './whatsit.js';
import { languageOf, keepLanguage, textOf } from './texts.js';
import { show, setUp as setUpResults } from './results.js';
import { openCamera } from './camera.js';

const MOST_CHIPS = 12;
const byId = (id) => document.getElementById(id);

let language = languageOf();
let about;
let loading = null; // what is shown of it, to be said again in the other language
const listeners = []; // called when the language changes
const text = (key, values) => textOf(language, key, values);
text.onChange = (listener) => listeners.push(listener);

/** Start the page; `find` gives the address of a file of the website by its name, `scripts` are the names of its scripts. */
export async function start(find, scripts) {
  byId('language').onclick = () => {
    language = language === 'th' ? 'en' : 'th';
    keepLanguage(language);
    translate();
  };
  translate();
  try {
    const model = await load(find, { onProgress: showProgress });
    about = model.about;
    globalThis.whatsit = { model }; // for whoever looks at it from the browser's console
    describe();
    ready(model);
    byId('progress').hidden = true;
    byId('input').hidden = false;
    document.documentElement.dataset.ready = 'true';
    await keepOffline(find);
  } catch (error) {
    byId('progress').hidden = true;
    loading = { failure: (error.code === 'worker' && (await missingOf(find, scripts))) || error };
    showFailure();
  }
}

/** A browser does not say why a worker does not start: mostly a script that it imports is not there. */
async function missingOf(find, scripts) {
  for (const name of scripts) {
    const address = find(name);
    const response = typeof address === 'string' && (await fetch(address).catch(() => null));
    if (response && !response.ok) return { code: 'missing', detail: name };
  }
  return null;
}

function translate() {
  document.documentElement.lang = language;
  byId('language').textContent = text('language');
  byId('language').lang = language === 'th' ? 'en' : 'th';
  for (const element of document.querySelectorAll('[data-text]')) element.textContent = text(element.dataset.text);
  describe();
  if (loading?.failure) showFailure();
  else if (loading) showProgress(loading);
  for (const listener of listeners) listener();
}

function showProgress(progress) {
  loading = progress;
  const whole = progress.loaded >= progress.total;
  const [done, all] = [progress.loaded, progress.total].map((bytes) => (bytes / 1e6).toFixed(1));
  byId('progress-text').textContent = whole ? text('starting') : text('loading', { done, all });
  if (whole) byId('bar').removeAttribute('value');
  else byId('bar').value = progress.loaded / progress.total;
}

function showFailure() {
  byId('failure-title').textContent = text('error.title');
  byId('failure-text').textContent = sentenceOf(loading.failure);
  byId('failure').hidden = false;
}

function sentenceOf(error) {
  const detail = error?.detail || String(error?.message ?? error);
  return text(error?.code ? `error.${error.code}` : 'error.model', { detail });
}

/** What the page says of its model. */
function describe() {
  if (!about) return;
  const { classes, test, gate, unknown, precision } = about;
  const chips = classes.slice(0, MOST_CHIPS).map((label) => Object.assign(document.createElement('span'), { textContent: label, title: label }));
  const rest = classes.length - chips.length;
  byId('knows').replaceChildren(text('knows', { n: classes.length.toLocaleString() }), ' ', ...chips, ...(rest > 0 ? [text('more', { n: rest.toLocaleString() })] : []));
  const lines = [test ? text('good', ofHundred(test)) : text('good.unmeasured')];
  if (gate && precision !== 'float32') lines.push(text('good.gate', { precision, same: hundred(gate.agreement) }));
  if (unknown) lines.push(unknownLine(unknown, test?.refused));
  byId('good').textContent = lines.join(' ');
  byId('made').textContent = text('made', { version: about.whatsit, date: about.created ? ` · ${about.created}` : '' });
}

/** How often good pictures are called unknown: as measured on test pictures, else as the threshold was meant. */
function unknownLine({ accepts }, refused) {
  if (Number.isFinite(refused)) return text('good.unknown', { n: hundred(refused) });
  return text('good.unknown.aim', { n: Math.max(1, Math.round(100 * (1 - accepts))) });
}

function ofHundred({ accuracy, low, high, n }) {
  return { right: hundred(accuracy), low: hundred(low), high: hundred(high), n: n.toLocaleString() };
}

/** A share as a whole number of 100; 0 and 100 only where it is exactly that. */
function hundred(share) {
  if (share === 0 || share === 1) return 100 * share;
  return Math.min(99, Math.max(1, Math.round(100 * share)));
}

function ready(model) {
  setUpResults({ model, text, sentenceOf });
  const drop = byId('drop');
  byId('files').onchange = ({ target }) => {
    show([...target.files]);
    target.value = ''; // so that the same picture can be chosen again
  };
  document.addEventListener('dragover', (event) => { event.preventDefault(); drop.classList.add('over'); });
  document.addEventListener('dragleave', (event) => { if (!event.relatedTarget) drop.classList.remove('over'); });
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    drop.classList.remove('over');
    show([...event.dataTransfer.files]);
  });
  document.addEventListener('paste', (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) show(files.map((file) => Object.assign(file, { shownName: text('pasted') })));
  });
  byId('camera').onclick = () => openCamera({ model, text, take: (bitmap, name) => show([Object.assign(bitmap, { shownName: name })]) });
  addEventListener('beforeinstallprompt', (event) => {
    event.preventDefault();
    byId('install').hidden = false;
    byId('install').onclick = () => { byId('install').hidden = true; event.prompt(); };
  });
}

/** Keep the page for use without a network, where the browser can. */
async function keepOffline(find) {
  const worker = find('sw.js');
  if (!('serviceWorker' in navigator) || !worker) return; // a single file has none
  await new Promise((resolve) => { setTimeout(resolve, 1500); }); // the first answer comes first
  try {
    await navigator.serviceWorker.register(worker);
    await navigator.serviceWorker.ready;
    document.documentElement.dataset.offline = 'true';
  } catch (error) { /* not from this host: the page then needs the network each time */ }
}
