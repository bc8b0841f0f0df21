// The model at work, beside the page: pictures in, probabilities out.

import * as ort from './runtime/ort.js';
import { pixelsOf, pixelsOfFrame } from './pixels.js';
import { answerOf, expectedCosts } from './costs.js';
import { evidenceOf } from './evidence.js';

// A module that needs SIMD: i8x16.splat and i8x16.popcnt.
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
const MOST_THREADS = 4;
const [GRAPH, PROCESSOR, GRAPHICS] = ['model.onnx', 'runtime/ort-wasm.bin', 'runtime/ort-webgpu.bin'];
// By which the probabilities of the probe may differ: on a graphics processor, where there is another way, and without.
const [CLOSE, ALIKE] = [1e-3, 1e-2];

class Failure extends Error {
  constructor(code, detail = '') {
    super(detail);
    this.code = code;
  }
}

let runtime; // the module that runs the graph
let session;
let about;
let work = Promise.resolve(); // the graph runs for one message at a time

self.onmessage = ({ data }) => {
  const { id, task } = data;
  work = work.then(() => (task === 'open' ? open(data) : predict(data))).then(
    ({ result, transfer }) => self.postMessage({ id, result }, transfer),
    (error) => self.postMessage({ id, error: { code: codeOf(error, task), detail: String(error?.message ?? error).slice(0, 300) } }),
  );
};

function codeOf(error, task) {
  if (error instanceof Failure) return error.code;
  if (error?.name === 'PictureError') return `picture-${error.code}`;
  if (error instanceof RangeError || /memory|bad_alloc/i.test(String(error?.message ?? error))) return 'memory';
  return task === 'open' ? 'model' : 'picture-damaged';
}

async function open({ about: wanted, files }) {
  about = wanted;
  if (typeof WebAssembly !== 'object' || typeof DecompressionStream !== 'function') throw new Failure('old-browser');
  if (!WebAssembly.validate(new Uint8Array(SIMD))) throw new Failure('simd');
  const graphics = (await mayUseGraphics()) && GRAPHICS;
  const advance = progressOf([GRAPH, graphics || PROCESSOR]);
  const graph = download(files, GRAPH, advance).then((bytes) => {
    if (bytes.length !== about.files[GRAPH]) throw new Failure('missing', GRAPH);
    return bytes;
  });
  graph.catch(() => {}); // it is awaited below
  if (graphics && (await startOnGraphics(files, graph, advance))) return { result: { runtime: 'webgpu' } };
  const [binary, model] = await Promise.all([download(files, PROCESSOR, advance).then((bytes) => unpacked(bytes, PROCESSOR)), graph]);
  runtime = ort;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1) : 1;
  await start(binary, model, 'wasm');
  if (!((await farthest()) <= ALIKE)) throw new Failure('model', 'it gives other probabilities here');
  return { result: { runtime: 'wasm', threads: ort.env.wasm.numThreads } };
}

/** Whether there is a graphics processor, no imitation of one, and the page was exported with what it needs. */
async function mayUseGraphics() {
  try {
    const adapter = about.files[GRAPHICS] && navigator.gpu && (await navigator.gpu.requestAdapter());
    return Boolean(adapter) && !adapter.isFallbackAdapter && !adapter.info?.isFallbackAdapter && !/swiftshader/i.test(adapter.info?.architecture ?? '');
  } catch (error) {
    return false;
  }
}

/** Start on the graphics processor; false where that fails or gives other answers. */
async function startOnGraphics(files, graph, advance) {
  try {
    const binary = await download(files, GRAPHICS, advance).then((bytes) => unpacked(bytes, GRAPHICS));
    runtime = await import('./runtime/ort-webgpu.js');
    await start(binary, await graph, 'webgpu');
    if ((await farthest()) <= CLOSE) return true;
  } catch (error) {
    if (error instanceof Failure && error.message === GRAPH) throw error;
  }
  await session?.release?.();
  session = undefined;
  return false;
}

async function start(binary, graph, provider) {
  runtime.env.wasm.wasmBinary = binary;
  runtime.env.logLevel = 'error';
  session = await runtime.InferenceSession.create(graph, { executionProviders: [provider], graphOptimizationLevel: 'all' });
}

/** How far the probabilities of a drawn picture are from what they should be: the first run, which is slow anyway. */
async function farthest() {
  const { width, height } = sizeOf();
  const pixels = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 7919 + (i >> 8) * 104729) % 256);
  const { probabilities } = await run(pixels, ['probabilities']);
  return Math.max(...about.probe.map((value, i) => Math.abs(value - probabilities.data[i])));
}

function progressOf(names) {
  const loaded = new Map(names.map((name) => [name, 0]));
  return (name, bytes) => {
    loaded.set(name, Math.min(bytes, about.files[name]));
    const total = [...loaded.keys()].reduce((sum, key) => sum + about.files[key], 0);
    self.postMessage({ progress: { loaded: [...loaded.values()].reduce((a, b) => a + b), total } });
  };
}

async function download(files, name, advance) {
  const address = files[name];
  if (address instanceof Blob) return new Uint8Array(await address.arrayBuffer());
  let response;
  try {
    response = await fetch(address);
  } catch (error) {
    throw new Failure('network', name);
  }
  if (!response.ok) throw new Failure('missing', name);
  if (!response.body) return new Uint8Array(await response.arrayBuffer());
  const parts = [];
  let length = 0;
  const reader = response.body.getReader();
  for (;;) {
    let step;
    try {
      step = await reader.read();
    } catch (error) {
      throw new Failure('network', name);
    }
    if (step.done) break;
    parts.push(step.value);
    length += step.value.length;
    advance(name, length);
  }
  const whole = new Uint8Array(length);
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}

// Compiled from memory, whatever type the host says. Some hosts unpack files that look compressed.
async function unpacked(bytes, name) {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
    try {
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
      return await new Response(stream).arrayBuffer();
    } catch (error) {
      throw new Failure('missing', name);
    }
  }
  if (bytes[0] !== 0 || bytes[1] !== 0x61) throw new Failure('missing', name);
  return bytes.buffer;
}

function sizeOf() {
  const [width, height] = about.size;
  return { width, height, resize: about.resize };
}

async function run(pixels, outputs) {
  const { width, height } = sizeOf();
  const count = pixels.length / (width * height * 3);
  return session.run({ image: new runtime.Tensor('uint8', pixels, [count, height, width, 3]) }, outputs);
}

async function predict({ bytes, bitmap, explain, pixels: wantPixels }) {
  const began = performance.now();
  const pixels = bytes ? await pixelsOf(bytes, sizeOf()) : pixelsOfFrame(frameOf(bitmap), sizeOf());
  const read = performance.now();
  const has = (name) => about.outputs.includes(name);
  const known = ['probabilities', ...(about.unknown && has('ood_score') ? ['ood_score'] : [])];
  const shown = explain && has('feature_map') ? ['feature_map', 'gradcam_weights'] : [];
  const outputs = await run(pixels, [...known, ...shown]);
  const probabilities = Float32Array.from(outputs.probabilities.data);
  if (probabilities.some((value) => !(value >= -1e-3 && value <= 1.001))) throw new Failure('model', 'it answers with something else than probabilities');
  const ran = performance.now();
  const result = { probabilities, score: outputs.ood_score ? outputs.ood_score.data[0] : NaN };
  result.milliseconds = { reading: read - began, model: ran - read };
  const number = answerOf(about.costs, probabilities);
  if (about.costs) result.answer = answerAgainst(number, probabilities);
  if (explain) {
    const logitsOf = async (hidden) => (await run(hidden, ['logits'])).logits.data;
    result.evidence = await evidenceOf({ outputs, probabilities, number, pixels, ...sizeOf(), logitsOf: has('logits') ? logitsOf : null });
  }
  const transfer = [probabilities.buffer];
  if (wantPixels) {
    result.pixels = pixels;
    transfer.push(pixels.buffer);
  }
  return { result, transfer };
}

/** The answer where it is not the most probable class, and that class with what it would cost; nothing where it is. */
function answerAgainst(number, probabilities) {
  const first = answerOf(null, probabilities);
  if (number === first) return {};
  const costs = expectedCosts(about.costs, probabilities);
  const named = (place) => ({ label: about.classes[place], probability: probabilities[place] });
  return { ...named(number), overruled: { ...named(first), cost: costs[first], answerCost: costs[number] } };
}

function frameOf(bitmap) {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  context.fillStyle = 'white'; // under what is transparent
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}
