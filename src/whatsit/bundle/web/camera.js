// The live camera: an answer as often as the model can give one, and photos.

import { barsOf, overruledText, percent } from './results.js';

const SECONDS = 2; // over which answers are counted
const byId = (id) => document.getElementById(id);

let photos = 0;

/** Open the camera; `take` gets each photo, with its name. */
export async function openCamera({ model, text, take }) {
  const problem = byId('problem');
  problem.hidden = true;
  let stream;
  try {
    stream = await streamOf('environment');
  } catch (error) {
    const key = keyOf(error);
    const say = () => { problem.textContent = text(key); };
    say();
    text.onChange(say);
    problem.hidden = false;
    return;
  }
  const video = byId('video');
  const live = byId('live');
  let facing = 'environment';
  let open = true;
  const use = async (other) => {
    stream = other;
    video.srcObject = stream;
    await video.play();
  };
  byId('live-rate').textContent = text('live.wait');
  live.hidden = false;
  byId('input').hidden = true;
  byId('close').onclick = () => {
    open = false;
    stop(stream);
    video.srcObject = null;
    live.hidden = true;
    byId('input').hidden = false;
  };
  byId('photo').onclick = async () => {
    photos += 1;
    take(await createImageBitmap(video), text('frame', { n: photos }));
  };
  byId('turn').hidden = (await cameras()) < 2;
  byId('turn').onclick = async () => {
    facing = facing === 'environment' ? 'user' : 'environment';
    stop(stream);
    await use(await streamOf(facing));
  };
  try {
    await use(stream);
    await answer(model, text, video, () => open);
  } catch (error) {
    if (open) byId('close').onclick();
  }
}

async function answer(model, text, video, isOpen) {
  const times = [];
  const nextFrame = framesOf(video, isOpen);
  const [label, sure] = byId('live-answer').children;
  while (isOpen()) {
    await nextFrame();
    if (!isOpen()) return;
    const found = await model.predict(video);
    if (!isOpen()) return;
    const now = performance.now();
    times.push(now);
    while (times[0] < now - 1000 * SECONDS) times.shift();
    const rate = times.length > 1 ? (1000 * (times.length - 1)) / (now - times[0]) : 0;
    byId('live-rate').textContent = text('live.rate', { n: rate.toFixed(rate < 10 ? 1 : 0) });
    byId('live-rate').dataset.rate = rate.toFixed(2);
    label.textContent = found.unknown ? text('unknown') : found.label;
    const told = found.overruled ? overruledText(text, found) : text('sure', { share: percent(found.probability) });
    sure.textContent = found.unknown ? '' : told;
    byId('live-bars').replaceChildren(barsOf(found.top.slice(0, 3), found.unknown));
  }
}

/** Return a function that waits until the video shows a picture that has not been taken yet. */
function framesOf(video, isOpen) {
  if (!video.requestVideoFrameCallback) return () => new Promise((resolve) => { setTimeout(resolve, 30); });
  let fresh = false;
  let wake = () => {};
  const note = () => {
    fresh = true;
    wake();
    if (isOpen()) video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback(note);
  return async () => {
    // Hidden pages are shown no frames: they look again each second, so that closing the camera ends the wait.
    while (!fresh && isOpen()) await new Promise((resolve) => { wake = resolve; setTimeout(resolve, 1000); });
    fresh = false;
  };
}

function streamOf(facingMode) {
  if (!navigator.mediaDevices?.getUserMedia) throw Object.assign(new Error('no camera'), { name: isSecureContext ? 'NotFoundError' : 'Insecure' });
  return navigator.mediaDevices.getUserMedia({ video: { facingMode, width: { ideal: 640 }, height: { ideal: 480 } }, audio: false });
}

function keyOf(error) {
  const keys = { Insecure: 'insecure', NotAllowedError: 'refused', SecurityError: 'refused', NotReadableError: 'busy', AbortError: 'busy' };
  return `error.camera-${keys[error?.name] ?? 'none'}`;
}

function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}

async function cameras() {
  const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
  return devices.filter((device) => device.kind === 'videoinput').length;
}
