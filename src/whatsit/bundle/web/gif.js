// GIF (version 89a), its first picture, decoded to RGB as Pillow reads it.

import { hasText } from "./bytes.js";
import { damaged, requireFewPixels } from "./errors.js";

/** @param {Uint8Array} bytes */
export function isGif(bytes) {
  return hasText(bytes, "GIF87a") || hasText(bytes, "GIF89a");
}

/**
 * Decode the first picture. Raises `PictureError`.
 * @param {Uint8Array} bytes
 * @returns {import("./jpeg.js").Picture}
 */
export function decodeGif(bytes) {
  if (bytes.length < 13) throw damaged("its header is incomplete");
  const short = (/** @type {number} */ at) => bytes[at] | (bytes[at + 1] << 8);
  requireFewPixels(short(6), short(8));
  const paletteAt = (/** @type {number} */ at, /** @type {number} */ flags) => {
    const size = flags & 0x80 ? 3 << ((flags & 7) + 1) : 0;
    return { palette: size ? bytes.subarray(at, at + size) : null, end: at + size };
  };
  let { palette, end: at } = paletteAt(13, bytes[10]);
  let hidden = -1;
  while (bytes[at] !== 0x2c) {
    const kind = bytes[at++];
    if (kind === undefined || kind === 0x3b) throw damaged("it holds no picture");
    if (kind !== 0x21) continue;
    if (bytes[at] === 0xf9 && bytes[at + 1] >= 4 && bytes[at + 2] & 1) hidden = bytes[at + 5];
    for (at++; bytes[at]; at += bytes[at] + 1);
    at++;
  }
  if (at + 11 > bytes.length) throw damaged("its header is incomplete");
  const [left, top, wide, high] = [1, 3, 5, 7].map((offset) => short(at + offset));
  const flags = bytes[at + 9];
  const local = paletteAt(at + 10, flags);
  palette = local.palette || palette;
  const [width, height] = [Math.max(short(6), left + wide), Math.max(short(8), top + high)];
  requireFewPixels(width, height);
  if (!wide || !high) throw damaged("its header says that it has no pixels");
  const indices = unpack(bytes, local.end, wide * high);
  const frame = { left, top, wide, high, interlaced: (flags & 0x40) !== 0 };
  const data = painted(indices, frame, width, height, coloursOf(palette, hidden), Math.max(hidden, 0));
  return { width, height, channels: 3, data, kind: "RGB", profile: null };
}

/**
 * @param {Uint8Array | null} palette
 * @param {number} hidden index of what is transparent; -1 without
 */
function coloursOf(palette, hidden) {
  const grey = new Uint8Array(768).map((_, at) => Math.floor(at / 3));
  const isGrey = !palette || palette.every((level, at) => level === grey[at]);
  const colours = isGrey ? grey : new Uint8Array(768);
  if (palette && !isGrey) colours.set(palette);
  if (hidden >= 0) colours.fill(255, hidden * 3, hidden * 3 + 3);
  return colours;
}

/**
 * @param {Uint8Array} indices
 * @param {{ left: number, top: number, wide: number, high: number, interlaced: boolean }} frame
 * @param {number} width
 * @param {number} height
 * @param {Uint8Array} colours
 * @param {number} around index of what is beside the frame
 */
function painted(indices, { left, top, wide, high, interlaced }, width, height, colours, around) {
  const data = new Uint8Array(width * height * 3);
  for (let at = 0; at < data.length; at++) data[at] = colours[around * 3 + (at % 3)];
  const passes = interlaced ? [[0, 8], [4, 8], [2, 4], [1, 2]] : [[0, 1]]; // prettier-ignore
  let from = 0;
  for (const [first, step] of passes) {
    for (let row = first; row < high; row += step) {
      let to = ((top + row) * width + left) * 3;
      for (let x = 0; x < wide; x++, from++, to += 3) {
        const colour = indices[from] * 3;
        data[to] = colours[colour];
        data[to + 1] = colours[colour + 1];
        data[to + 2] = colours[colour + 2];
      }
    }
  }
  return data;
}

/**
 * Unpack the indices (LZW with codes of variable length).
 * @param {Uint8Array} bytes
 * @param {number} at
 * @param {number} total
 */
function unpack(bytes, at, total) {
  const least = bytes[at++];
  if (!(least >= 1 && least <= 12)) throw damaged("its packed data are wrong");
  const cut = () => damaged("the file ends before the picture does");
  const clear = 1 << least;
  const prefix = new Uint16Array(4096);
  const suffix = new Uint8Array(4096);
  const lengths = new Uint16Array(4096).fill(1, 0, clear);
  for (let code = 0; code < clear; code++) suffix[code] = code;
  const out = new Uint8Array(total);
  let [next, size, last, to, buffer, count, left] = [clear + 2, least + 1, -1, 0, 0, 0, 0];
  while (to < total) {
    while (count < size) {
      if (!left) left = bytes[at++];
      if (!left || at >= bytes.length) throw cut();
      buffer |= bytes[at++] << count;
      count += 8;
      left--;
    }
    const code = buffer & ((1 << size) - 1);
    buffer >>>= size;
    count -= size;
    if (code === clear) {
      [next, size, last] = [clear + 2, least + 1, -1];
      continue;
    }
    if (code === clear + 1) throw cut();
    if (code > next || (code === next && last < 0) || (last < 0 && code >= clear)) {
      throw damaged("its packed data are wrong");
    }
    const isNew = code === next;
    const length = isNew ? lengths[last] + 1 : lengths[code];
    let place = to + length - 1;
    let from = isNew ? last : code;
    if (isNew) place--;
    for (; place >= to; place--) {
      if (place < total) out[place] = suffix[from];
      from = prefix[from];
    }
    const first = out[to];
    if (isNew && to + length - 1 < total) out[to + length - 1] = first;
    if (last >= 0 && next < 4096) {
      prefix[next] = last;
      suffix[next] = first;
      lengths[next] = lengths[last] + 1;
      next++;
      if (next === 1 << size && size < 12) size++;
    }
    last = code;
    to += length;
  }
  return out;
}
