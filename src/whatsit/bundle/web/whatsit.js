// A picture classifier in a web page; nothing leaves the device.
//
//   import { load } from './whatsit.js';
//   const model = await load();                       // the folder that this file lies in
//   const answer = await model.predict(fileOrImage);  // { label, probability, unknown, top }
//
// or without script:  <whatsit-classifier src="/shop/"></whatsit-classifier>

/** What went wrong, for programs in `code`: see whatsit.d.ts. */
export class WhatsitError extends Error {
  constructor(code, detail = '') {
    super(detail ? `${code}: ${detail}` : code);
    this.name = 'WhatsitError';
    this.code = code;
    this.detail = detail;
  }
}

/** Open the model of an exported website by its address. */
export async function load(site, { onProgress } = {}) {
  const find = typeof site === 'function' ? site : addressesBelow(site);
  const about = await readAbout(find('about.json'));
  const worker = start(find('worker.js'));
  const model = new Model(about, worker, onProgress);
  try {
    const files = Object.fromEntries(Object.keys(about.files).map((name) => [name, find(name)]));
    Object.assign(model, await model.ask({ task: 'open', about, files }));
    return model;
  } catch (error) {
    model.close();
    throw error;
  }
}

function addressesBelow(site) {
  const folder = new URL(site === undefined ? '.' : String(site).replace(/\/?$/, '/'), site === undefined ? import.meta.url : document.baseURI);
  return (name) => new URL(name, folder).href;
}

async function readAbout(address) {
  let response;
  try {
    response = address instanceof Blob ? new Response(address) : await fetch(address);
  } catch (error) {
    throw new WhatsitError('network', address);
  }
  if (!response.ok) throw new WhatsitError('missing', 'about.json');
  try {
    return await response.json();
  } catch (error) { // a host that answers with its own page
    throw new WhatsitError('missing', 'about.json');
  }
}

function start(address) {
  if (address.startsWith('blob:')) return new Worker(address);
  if (new URL(address).origin === location.origin) return new Worker(address, { type: 'module' });
  // No worker starts from another site, but may import from it.
  const text = `const early = []; self.onmessage = (event) => early.push(event);
    import(${JSON.stringify(address)}).then(() => early.forEach((event) => self.onmessage(event)), (error) => setTimeout(() => { throw error; }));`;
  return new Worker(URL.createObjectURL(new Blob([text], { type: 'text/javascript' })));
}

class Model {
  #worker;
  #waiting = new Map();
  #asked = 0;

  constructor(about, worker, onProgress) {
    this.about = about;
    this.classes = about.classes;
    this.#worker = worker;
    worker.onmessage = ({ data }) => {
      if (data.progress) return onProgress?.(data.progress);
      const { resolve, reject } = this.#waiting.get(data.id) ?? {};
      this.#waiting.delete(data.id);
      if (data.error) reject?.(new WhatsitError(data.error.code, data.error.detail));
      else resolve?.(data.result);
    };
    worker.onerror = (event) => this.#fail(new WhatsitError('worker', event.message));
  }

  /** Predict a picture; its types are in whatsit.d.ts. */
  async predict(source, { explain = false, pixels = false } = {}) {
    const picture = await messageOf(source);
    const found = await this.ask({ task: 'predict', explain, pixels, ...picture }, Object.values(picture));
    const order = [...found.probabilities.keys()].sort((a, b) => found.probabilities[b] - found.probabilities[a]);
    const top = order.map((number) => ({ label: this.classes[number], probability: found.probabilities[number] }));
    const rule = this.about.unknown;
    return { ...found, ...top[0], ...found.answer, unknown: Boolean(rule) && !(found.score <= rule.threshold), top };
  }

  /** Free the memory. */
  close() {
    this.#worker?.terminate();
    this.#worker = null;
    this.#fail(new WhatsitError('closed'));
  }

  ask(message, transfer = []) {
    return new Promise((resolve, reject) => {
      if (!this.#worker) throw new WhatsitError('closed');
      this.#asked += 1;
      this.#waiting.set(this.#asked, { resolve, reject });
      this.#worker.postMessage({ id: this.#asked, ...message }, transfer);
    });
  }

  #fail(error) {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

/** Bytes wherever there are any: only they are decoded exactly. */
async function messageOf(source) {
  if (source instanceof Blob) return { bytes: await bytesOf(source) };
  if (source instanceof ArrayBuffer) return { bytes: source.slice(0) };
  if (ArrayBuffer.isView(source)) return { bytes: new Uint8Array(source.buffer, source.byteOffset, source.byteLength).slice().buffer };
  if (source instanceof HTMLImageElement) {
    try {
      const response = await fetch(source.currentSrc || source.src);
      if (response.ok) return { bytes: await response.arrayBuffer() };
    } catch (error) { /* another site's */ }
  }
  try {
    return { bitmap: await createImageBitmap(source) };
  } catch (error) {
    throw new WhatsitError('picture-damaged', String(error?.message ?? error));
  }
}

async function bytesOf(blob) {
  try {
    return await blob.arrayBuffer();
  } catch (error) { // moved or removed since
    throw new WhatsitError('picture-damaged', String(error?.message ?? error));
  }
}

const STYLE = `
  :host { display: block; font: inherit; max-width: 26rem; }
  label { display: block; border: 2px dashed #8888; border-radius: .8rem; padding: 1rem; text-align: center; cursor: pointer; }
  label:focus-within, label.over { border-color: #0a8f68; }
  input { position: absolute; opacity: 0; width: 1px; height: 1px; }
  img { display: block; max-width: 100%; max-height: 16rem; margin: 0 auto .6rem; border-radius: .5rem; }
  ol { list-style: none; padding: 0; margin: .6rem 0 0; }
  li { display: grid; grid-template-columns: 1fr 4rem; gap: .2rem .6rem; margin: .3rem 0; overflow-wrap: anywhere; }
  li span:last-of-type { text-align: right; }
  meter { grid-column: 1 / -1; width: 100%; }
  p { margin: .6rem 0 0; }`;
const WORDS = {
  en: { choose: 'Choose or drop a picture', loading: 'Loading ...', unknown: 'Unknown: it resembles none of the classes.', answer: 'Answer: ', failed: 'That did not work' },
  th: { choose: 'เลือกหรือลากรูปมาวาง', loading: 'กำลังโหลด ...', unknown: 'ไม่รู้จัก: ไม่เหมือนประเภทใดเลย', answer: 'คำตอบ: ', failed: 'ไม่สำเร็จ' },
};

/** `<whatsit-classifier src="folder/" top="3" lang="th">` */
class Classifier extends (globalThis.HTMLElement ?? Object) {
  #model;
  #asked = 0;

  connectedCallback() {
    if (this.shadowRoot) return;
    const words = WORDS[(this.lang || document.documentElement.lang || navigator.language).slice(0, 2)] ?? WORDS.en;
    const root = this.attachShadow({ mode: 'open' });
    const style = new CSSStyleSheet();
    style.replaceSync(STYLE);
    root.adoptedStyleSheets = [style];
    const [label, image, input] = ['label', 'img', 'input'].map((name) => document.createElement(name));
    Object.assign(input, { type: 'file', accept: 'image/*' });
    image.hidden = true;
    image.alt = '';
    label.append(image, words.choose, input);
    this.output = document.createElement('div');
    this.output.setAttribute('aria-live', 'polite');
    root.append(label, this.output);
    input.onchange = () => input.files[0] && this.#show(input.files[0], image, words);
    label.ondragover = (event) => { event.preventDefault(); label.classList.add('over'); };
    label.ondragleave = () => label.classList.remove('over');
    label.ondrop = (event) => {
      event.preventDefault();
      label.classList.remove('over');
      if (event.dataTransfer.files[0]) this.#show(event.dataTransfer.files[0], image, words);
    };
  }

  disconnectedCallback() {
    this.#model?.then((model) => model.close(), () => {});
    this.#model = undefined;
  }

  /** The model is loaded with the first picture. */
  async predict(source, options) {
    this.#model ??= load(this.getAttribute('src') ?? undefined).catch((error) => { this.#model = undefined; throw error; });
    return (await this.#model).predict(source, options);
  }

  async #show(file, image, words) {
    const asked = (this.#asked += 1);
    URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(file);
    image.hidden = false;
    image.onerror = () => { image.hidden = true; };
    this.output.textContent = words.loading;
    try {
      const answer = await this.predict(file);
      if (asked !== this.#asked) return; // another came since
      const note = answer.unknown ? words.unknown : answer.overruled && words.answer + answer.label;
      this.output.replaceChildren(...(note ? [element('p', note)] : []), bars(answer, Number(this.getAttribute('top')) || 3));
      this.dispatchEvent(new CustomEvent('prediction', { detail: answer, bubbles: true, composed: true }));
    } catch (error) {
      if (asked !== this.#asked) return;
      this.output.replaceChildren(element('p', `${words.failed} (${error.message}).`));
      this.dispatchEvent(new CustomEvent('failure', { detail: error, bubbles: true, composed: true }));
    }
  }
}

function bars(answer, count) {
  const list = document.createElement('ol');
  for (const { label, probability } of answer.top.slice(0, count)) {
    const item = element('li');
    item.append(element('span', label), element('span', `${Math.min(100 * probability, probability < 1 ? 99.9 : 100).toFixed(1)} %`), Object.assign(element('meter'), { value: probability }));
    list.append(item);
  }
  return list;
}

function element(name, text = '') {
  return Object.assign(document.createElement(name), { textContent: text });
}

if (globalThis.customElements && !customElements.get('whatsit-classifier')) customElements.define('whatsit-classifier', Classifier);
