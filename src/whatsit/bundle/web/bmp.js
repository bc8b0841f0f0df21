// BMP (Windows bitmaps), decoded to RGB as Pillow reads them.

import { hasText } from "./bytes.js";
import { damaged, requireFewPixels, unsupported } from "./errors.js";
import { onWhite } from "./paper.js";

const MOST_SIDE = 65_535;
const HEADERS = [16, 40, 52, 56, 64, 108, 124];
// Of 32 bits with masks of red, green, blue and opacity: where each byte of a pixel is; -1 for no opacity.
const LAYOUTS = {
  "ff0000,ff00,ff,0": [2, 1, 0, -1],
  "ff000000,ff0000,ff00,0": [3, 2, 1, -1],
  "ff000000,ff00,ff,0": [3, 1, 0, -1],
  "ff000000,ff0000,ff00,ff": [3, 2, 1, 0],
  "ff,ff00,ff0000,ff000000": [0, 1, 2, 3],
  "ff0000,ff00,ff,ff000000": [2, 1, 0, 3],
  "ff000000,ff00,ff,ff0000": [3, 1, 0, 2],
  "0,0,0,0": [2, 1, 0, 3],
};
const PLAIN = [2, 1, 0, -1];

/** @param {Uint8Array} bytes */
export function isBmp(bytes) {
  return hasText(bytes, "BM");
}

/**
 * Decode a bitmap. Raises `PictureError`.
 * @param {Uint8Array} bytes
 * @returns {import("./jpeg.js").Picture}
 */
export function decodeBmp(bytes) {
  const head = readHeader(bytes);
  const { width, height, bits, packing } = head;
  requireFewPixels(width, height);
  const data =
    bits <= 8 ? decodePalette(bytes, head) : packing === 1 || packing === 2 ? null : decodeDirect(bytes, head);
  if (!data) throw unsupported(`a BMP of ${bits} bits with the compression ${packing}`);
  return { width, height, channels: 3, data, kind: "RGB", profile: null };
}

/** @param {Uint8Array} bytes */
function readHeader(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size =
    bytes.length >= 34 || (bytes.length >= 26 && view.getUint32(14, true) === 12) ? view.getUint32(14, true) : 0;
  if (size !== 12 && !HEADERS.includes(size)) throw unsupported("no picture, or a BMP with an unusual header");
  const isOld = size === 12;
  const [wide, high] = isOld
    ? [view.getUint16(18, true), view.getUint16(20, true)]
    : [view.getInt32(18, true), view.getInt32(22, true)];
  const bits = view.getUint16(isOld ? 24 : 28, true);
  const packing = isOld ? 0 : view.getUint32(30, true);
  if (![1, 2, 4, 8, 16, 24, 32].includes(bits) || ![0, 1, 2, 3, 6].includes(packing)) {
    throw unsupported(`a BMP of ${bits} bits with the compression ${packing}`);
  }
  if (wide < 1 || wide > MOST_SIDE || high === 0 || Math.abs(high) > MOST_SIDE) {
    throw damaged("the sides in its header are impossible");
  }
  if (size === 16 || bits === 2 || packing === 6 || 14 + size > bytes.length)
    throw damaged("its header cannot be read");
  const colours = (isOld ? 0 : view.getUint32(46, true)) || 2 ** bits;
  const entry = isOld ? 3 : 4;
  const masks = packing === 3 && !isOld && size === 40 ? 12 : 0;
  let start = view.getUint32(10, true);
  const table = 14 + size + masks;
  if (start === 14 + size && bits <= 8) start += entry * colours;
  if (!start) start = table + (bits <= 8 ? entry * colours : 0);
  if (bits <= 8 && colours > 256) throw damaged("its palette is too large");
  return { width: wide, height: Math.abs(high), topDown: high < 0, bits, packing, colours, entry, table, start, size };
}

/**
 * @param {Uint8Array} bytes
 * @param {ReturnType<typeof readHeader>} head
 */
function decodePalette(bytes, { width, height, topDown, bits, packing, colours, entry, table, start }) {
  if (packing === 3) throw damaged("its header cannot be read");
  const palette = new Uint8Array(768);
  for (let index = 0; index < Math.min(colours, 256); index++) {
    const at = table + index * entry;
    if (at + 3 > bytes.length) break;
    palette.set([bytes[at + 2], bytes[at + 1], bytes[at]], index * 3);
  }
  const indices = packing ? unpackRuns(bytes, start, width, height, packing === 2) : null;
  const line = ((width * bits + 31) >> 3) & ~3;
  const used = Math.ceil((width * bits) / 8);
  if (!indices && start + line * (height - 1) + used > bytes.length)
    throw damaged("the file ends before the picture does");
  const data = new Uint8Array(width * height * 3);
  const mask = (1 << bits) - 1;
  for (let row = 0, to = 0; row < height; row++) {
    const from = topDown ? row : height - 1 - row;
    for (let x = 0; x < width; x++, to += 3) {
      const bit = x * bits;
      const index = indices
        ? indices[from * width + x]
        : (bytes[start + from * line + (bit >> 3)] >> (8 - bits - (bit & 7))) & mask;
      data[to] = palette[index * 3];
      data[to + 1] = palette[index * 3 + 1];
      data[to + 2] = palette[index * 3 + 2];
    }
  }
  return data;
}

/**
 * Unpack runs of indices (BI_RLE8, BI_RLE4), from the first row in the file.
 * @param {Uint8Array} bytes
 * @param {number} at
 * @param {number} width
 * @param {number} height
 * @param {boolean} isFour bits
 */
function unpackRuns(bytes, at, width, height, isFour) {
  const total = width * height;
  const out = new Uint8Array(total);
  let to = 0;
  let x = 0;
  while (to < total && at + 1 < bytes.length) {
    const count = bytes[at];
    const value = bytes[at + 1];
    at += 2;
    if (count) {
      const fits = x + count > width ? Math.max(0, width - x) : count;
      for (let index = 0; index < fits && to < total; index++) {
        out[to++] = !isFour ? value : index % 2 ? value & 15 : value >> 4;
      }
      x += fits;
    } else if (value === 0) {
      to = Math.ceil(to / width) * width;
      x = 0;
    } else if (value === 1) {
      break;
    } else if (value === 2) {
      if (at + 2 > bytes.length) break;
      to += bytes[at] + bytes[at + 1] * width;
      x = to % width;
      at += 2;
    } else {
      const length = isFour ? value >> 1 : value;
      for (let index = 0; index < length && at < bytes.length; index++, at++) {
        if (isFour && to < total) out[to++] = bytes[at] >> 4;
        if (to < total) out[to++] = isFour ? bytes[at] & 15 : bytes[at];
      }
      x += value;
      at += at % 2;
    }
  }
  if (to < total) throw damaged("the file ends before the picture does");
  return out;
}

/**
 * @param {Uint8Array} bytes
 * @param {ReturnType<typeof readHeader>} head
 */
function decodeDirect(bytes, head) {
  const { width, height, topDown, bits, packing, start } = head;
  const step = bits >> 3;
  const line = ((width * bits + 31) >> 3) & ~3;
  const masks = packing === 3 ? masksOf(bytes, head) : null;
  if (start + line * (height - 1) + width * step > bytes.length) throw damaged("the file ends before the picture does");
  const places = bits === 32 && masks ? LAYOUTS[/** @type {keyof typeof LAYOUTS} */ (String(masks))] : PLAIN;
  const isSix = bits === 16 && masks !== null && masks[0] === "f800";
  const known16 = ["f800,7e0,1f", "7c00,3e0,1f"].includes(String(masks?.slice(0, 3)));
  const known24 = String(masks?.slice(0, 3)) === "ff0000,ff00,ff";
  if (!places || (masks && ((bits === 16 && !known16) || (bits === 24 && !known24)))) {
    throw damaged("its header cannot be read");
  }
  const hasAlpha = places[3] >= 0;
  const channels = hasAlpha ? 4 : 3;
  const data = new Uint8Array(width * height * channels);
  for (let row = 0, to = 0; row < height; row++) {
    let at = start + (topDown ? row : height - 1 - row) * line;
    for (let x = 0; x < width; x++, at += step, to += channels) {
      if (bits === 16) {
        const value = bytes[at] | (bytes[at + 1] << 8);
        data[to] = (((value >> (isSix ? 11 : 10)) & 31) * 255) / 31;
        data[to + 1] = isSix ? (((value >> 5) & 63) * 255) / 63 : (((value >> 5) & 31) * 255) / 31;
        data[to + 2] = ((value & 31) * 255) / 31;
      } else {
        for (let channel = 0; channel < channels; channel++) data[to + channel] = bytes[at + places[channel]];
      }
    }
  }
  return hasAlpha ? onWhite(data) : data;
}

/**
 * Return the masks of red, green, blue and opacity, as hexadecimal numbers.
 * @param {Uint8Array} bytes
 * @param {{ size: number }} head
 */
function masksOf(bytes, { size }) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (54 + 12 > bytes.length) throw damaged("its header cannot be read");
  const masks = [0, 1, 2].map((index) => view.getUint32(54 + 4 * index, true).toString(16));
  return [...masks, size >= 56 ? view.getUint32(66, true).toString(16) : "0"];
}
