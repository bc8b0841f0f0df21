// The answers, a card for each picture, the newest first.

import { drawEvidence, drawPixels } from './drawing.js';

const FEW = 5; // classes that are shown at first
const LARGEST = 960; // pixels of a side of a picture as it is shown
const byId = (id) => document.getElementById(id);

let model;
let text;
let sentenceOf;
let queue = Promise.resolve();

export function setUp(options) {
  ({ model, text, sentenceOf } = options);
  byId('clear').onclick = () => {
    byId('results').replaceChildren();
    changed();
  };
}

/** Show an answer for each of some files or photos, one after the other. */
export function show(sources) {
  for (const source of sources.reverse()) byId('results').prepend(cardOf(source));
  changed();
}

function changed() {
  const count = byId('results').children.length;
  byId('clear').hidden = count < 2;
  document.body.classList.toggle('has-results', count > 0);
}

function cardOf(source) {
  const card = create('article', 'result');
  const name = source.shownName ?? source.name ?? '';
  const picture = create('div', 'picture');
  const answer = create('div', 'answer');
  card.append(picture, answer);
  answer.append(create('p', 'small-print', text('reading')));
  queue = queue.then(async () => {
    if (!card.isConnected) return; // it has been removed while it waited
    const drawn = await drawable(source);
    try {
      const began = performance.now();
      const found = await model.predict(drawn.sent, { pixels: true, explain: model.about.outputs.includes('feature_map') });
      fill({ card, picture, answer, name, drawn, found, milliseconds: performance.now() - began });
      card.dataset.done = 'true';
    } catch (error) {
      const refill = () => answer.replaceChildren(create('p', 'failed', `${name}: ${sentenceOf(error)}`), removal(card));
      refill();
      text.onChange(refill);
      if (drawn.canvas) picture.replaceChildren(drawn.canvas);
      card.dataset.done = 'failed';
    }
  });
  return card;
}

/** A picture as a canvas where the browser can show it, and what is sent to the model. */
async function drawable(source) {
  try {
    const bitmap = source instanceof ImageBitmap ? source : await createImageBitmap(source, { imageOrientation: 'from-image' });
    const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
    const canvas = Object.assign(document.createElement('canvas'), { width: Math.max(1, Math.round(bitmap.width * scale)), height: Math.max(1, Math.round(bitmap.height * scale)) });
    const context = canvas.getContext('2d');
    context.imageSmoothingQuality = 'high';
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    if (bitmap !== source) bitmap.close();
    return { canvas, sent: source };
  } catch (error) { // a format that only the model's own reader knows
    return { canvas: null, sent: source };
  }
}

function fill({ card, picture, answer, name, drawn, found, milliseconds }) {
  const canvas = drawn.canvas ?? drawPixels(found.pixels, model.about.size);
  canvas.setAttribute('role', 'img');
  picture.replaceChildren(canvas);
  let expanded = false;
  let evidence = found.evidence;
  let overlay = null;
  const refill = () => {
    canvas.setAttribute('aria-label', text('picture', { name }));
    const toggle = button(overlay ? 'evidence.hide' : 'evidence.show', async () => {
      if (evidence === undefined) evidence = (await model.predict(drawn.sent, { explain: true })).evidence;
      overlay = overlay ? null : evidence && drawEvidence(canvas, evidence);
      picture.replaceChildren(overlay ?? canvas);
      refill();
    });
    toggle.setAttribute('aria-pressed', String(Boolean(overlay)));
    const more = button(expanded ? 'fewer' : 'all', () => { expanded = !expanded; refill(); }, { n: found.top.length });
    const note = evidence === null ? text('evidence.none', { label: found.label }) : overlay ? text('evidence.help', { label: found.label }) : '';
    const footer = create('div', 'foot');
    footer.append(create('span', 'small-print', [name, text('took', { ms: Math.max(1, Math.round(milliseconds)) })].filter(Boolean).join(' · ')), removal(card));
    const buttons = create('div', 'row');
    if (evidence !== null) buttons.append(toggle);
    if (found.top.length > FEW) buttons.append(more);
    answer.replaceChildren(
      headingOf(found),
      barsOf(found.top.slice(0, expanded ? undefined : FEW), found.unknown),
      ...(buttons.children.length ? [buttons] : []),
      ...(note ? [create('p', 'small-print', note)] : []),
      footer,
    );
  };
  refill();
  text.onChange(refill);
}

function headingOf(found) {
  const heading = create('div', found.unknown ? 'unknown' : '');
  heading.append(create('div', 'label', found.unknown ? text('unknown') : found.label));
  const below = found.unknown ? text('unknown.why', { label: found.label }) : text('sure', { share: percent(found.probability) });
  heading.append(create('div', 'sure', below));
  if (found.overruled && !found.unknown) heading.append(create('p', 'overruled', overruledText(text, found)));
  return heading;
}

/** Why the most probable class is not the answer. */
export function overruledText(words, { label, overruled }) {
  return words('overruled', { label, other: overruled.label, share: percent(overruled.probability) });
}

/** Bars of probabilities, faint where none of them counts. */
export function barsOf(top, faint = false) {
  const bars = create('div', faint ? 'bars faint' : 'bars');
  for (const { label, probability } of top) {
    const bar = create('div', 'bar');
    const track = create('i');
    const fill = create('b');
    fill.style.width = `${100 * probability}%`;
    track.append(fill);
    bar.append(Object.assign(create('span', 'name', label), { title: label }), track, create('span', 'number', percent(probability)));
    bars.append(bar);
  }
  return bars;
}

/** A share as people read it; 100 % only where it is exactly that. */
export function percent(share) {
  if (share < 1 && share >= 0.9995) return '> 99.9 %';
  if (share > 0 && share < 0.0005) return '< 0.1 %';
  return `${(100 * share).toFixed(1)} %`;
}

function button(key, onclick, values) {
  return Object.assign(create('button', 'quiet small', text(key, values)), { type: 'button', onclick });
}

function removal(card) {
  return button('remove', () => {
    card.remove();
    changed();
  });
}

function create(name, className = '', content = '') {
  return Object.assign(document.createElement(name), { className, textContent: content });
}
