// TGA (Truevision, version 2), decoded to RGB as Pillow reads it.

import { damaged, requireFewPixels } from "./errors.js";
import { onWhite } from "./paper.js";

const DEPTHS = { 2: [16, 24, 32], 10: [16, 24, 32], 3: [1, 8, 16], 11: [1, 8, 16] };

/** @param {Uint8Array} bytes whose header has no signature */
export function mayBeTga(bytes) {
  if (bytes.length < 19 || bytes[17] & 0xc0) return false;
  const [colours, kind, depth] = [bytes[1], bytes[2], bytes[16]];
  if (kind === 1 || kind === 9) return colours === 1 && depth === 8 && [16, 24, 32].includes(bytes[7]);
  const depths = DEPTHS[/** @type {keyof typeof DEPTHS} */ (kind)];
  return colours === 0 && !bytes.subarray(3, 8).some(Boolean) && Boolean(depths?.includes(depth));
}

/**
 * Decode a picture. Raises `PictureError`.
 * @param {Uint8Array} bytes
 * @returns {import("./jpeg.js").Picture}
 */
export function decodeTga(bytes) {
  const short = (/** @type {number} */ at) => bytes[at] | (bytes[at + 1] << 8);
  const [width, height] = [short(12), short(14)];
  if (!width || !height) throw damaged("the sides in its header are impossible");
  requireFewPixels(width, height);
  const kind = bytes[2] & 7;
  const depth = bytes[16];
  const entry = kind === 1 ? bytes[7] >> 3 : 0;
  const table = 18 + bytes[0];
  const start = table + short(5) * entry;
  const count = width * height;
  const packed = bytes.subarray(start);
  const step = Math.max(1, depth >> 3);
  const samples =
    bytes[2] & 8 ? unpacked(packed, count * step, width * step, step) : plain(packed, width, height, depth);
  const pixels = new Uint8ClampedArray(count * 4).fill(255);
  for (let at = 0; at < count; at++) {
    if (kind === 1) {
      const from = table + (samples[at] - short(3)) * entry;
      const isInside = from >= table && from + entry <= start;
      colour(isInside ? bytes : new Uint8Array(4), isInside ? from : 0, entry * 8, pixels, at * 4);
    } else if (kind === 3) {
      pixels.fill(samples[at * step], at * 4, at * 4 + 3);
      if (depth === 16) pixels[at * 4 + 3] = samples[at * 2 + 1];
    } else {
      colour(samples, at * step, depth, pixels, at * 4);
    }
  }
  turn(pixels, width, height, bytes[17]);
  const data = onWhite(pixels);
  return { width, height, channels: 3, data, kind: kind === 3 ? "L" : "RGB", profile: null };
}

/**
 * @param {Uint8Array} from
 * @param {number} at
 * @param {number} bits 16, 24 or 32
 * @param {Uint8ClampedArray} to
 * @param {number} place
 */
function colour(from, at, bits, to, place) {
  if (bits === 16) {
    const value = from[at] | (from[at + 1] << 8);
    to[place] = Math.floor((((value >> 10) & 31) * 255) / 31);
    to[place + 1] = Math.floor((((value >> 5) & 31) * 255) / 31);
    to[place + 2] = Math.floor(((value & 31) * 255) / 31);
    to[place + 3] = value >> 15 ? 0 : 255;
    return;
  }
  to[place] = from[at + 2];
  to[place + 1] = from[at + 1];
  to[place + 2] = from[at];
  if (bits === 32) to[place + 3] = from[at + 3];
}

/**
 * @param {Uint8Array} packed
 * @param {number} width
 * @param {number} height
 * @param {number} depth
 */
function plain(packed, width, height, depth) {
  const line = Math.ceil((width * depth) / 8);
  if (packed.length < line * height) throw damaged("the file ends before the picture does");
  if (depth > 1) return packed;
  const samples = new Uint8Array(width * height);
  for (let row = 0, to = 0; row < height; row++) {
    for (let x = 0; x < width; x++, to++) samples[to] = (packed[row * line + (x >> 3)] >> (7 - (x & 7))) & 1 ? 255 : 0;
  }
  return samples;
}

/**
 * Unpack runs of pixels, which must not go on in the next row, and those that are as they are, which may.
 * @param {Uint8Array} packed
 * @param {number} length
 * @param {number} line
 * @param {number} step
 */
function unpacked(packed, length, line, step) {
  const out = new Uint8Array(length);
  let at = 0;
  for (let to = 0; to < length;) {
    const head = packed[at++];
    const bytes = ((head & 127) + 1) * step;
    const taken = head & 128 ? step : Math.min(bytes, length - to);
    if (head === undefined || at + taken > packed.length) throw damaged("the file ends before the picture does");
    if (head & 128 && (to % line) + bytes > line) throw damaged("a run of pixels is too long");
    const end = Math.min(to + bytes, length);
    for (let index = 0; to < end; index++, to++) out[to] = packed[at + (head & 128 ? index % step : index)];
    at += head & 128 ? step : bytes;
  }
  return out;
}

/**
 * Bring the first row to the top and the first column to the left.
 * @param {Uint8ClampedArray} pixels RGBA
 * @param {number} width
 * @param {number} height
 * @param {number} flags
 */
function turn(pixels, width, height, flags) {
  const words = new Uint32Array(pixels.buffer);
  if (!(flags & 0x20)) {
    for (let top = 0, bottom = height - 1; top < bottom; top++, bottom--) {
      const line = words.slice(top * width, top * width + width);
      words.copyWithin(top * width, bottom * width, bottom * width + width);
      words.set(line, bottom * width);
    }
  }
  if (flags & 0x10) for (let row = 0; row < height; row++) words.subarray(row * width, row * width + width).reverse();
}
