// PNG (W3C Recommendation, third edition), decoded to 8-bit RGB as whatsit does it.

import { hasText, joined } from "./bytes.js";
import { damaged, requireFewPixels } from "./errors.js";
import { inflate, inflateSmall } from "./inflate.js";
import { opaque } from "./paper.js";

const START = "\x89PNG\r\n\x1a\n";
const DEPTHS = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] }; // by colour type
const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const CHECKED = ["IHDR", "PLTE", "tRNS", "IDAT"];
const ONCE = ["IHDR", "PLTE", "tRNS", "eXIf", "iCCP"];
const TEXTS = ["tEXt", "zTXt", "iTXt"];
const EXIF_TEXT = "Raw profile type exif\0";
const XMP_TEXT = "XML:com.adobe.xmp\0";
const MOST_TEXT = 1 << 19;
const MOST_PROFILE = 1 << 22;
const TWELVE_BITS = 4095;
// Adam7: the first column and row of each pass, and its steps.
const PASSES = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
];

/** @param {Uint8Array} bytes */
export function isPng(bytes) {
  return hasText(bytes, START);
}

const CRC = new Int32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
  CRC[byte] = rest;
}

/** @param {Uint8Array} bytes */
function crc(bytes) {
  let rest = -1;
  for (let at = 0; at < bytes.length; at++) rest = CRC[(rest ^ bytes[at]) & 255] ^ (rest >>> 8);
  return ~rest >>> 0;
}

/**
 * What the parts of a PNG say.
 * @typedef {object} Png
 * @property {number} width
 * @property {number} height
 * @property {number} bits
 * @property {number} kind colour type
 * @property {boolean} interlaced
 * @property {Uint8Array | null} palette
 * @property {Uint8Array | null} transparency
 * @property {Uint8Array | null} exif
 * @property {Uint8Array | null} xmp
 * @property {Uint8Array | null} profile
 * @property {Uint8Array[]} pixels packed
 */

/**
 * Check a PNG and read its parts. Raises `PictureError`.
 * @param {Uint8Array} bytes
 * @returns {Png}
 */
export function checkPng(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const seen = new Set();
  /** @type {Record<string, Uint8Array | null>} */
  const found = { IHDR: null, PLTE: null, tRNS: null, eXIf: null, exif: null, xmp: null, profile: null };
  /** @type {Uint8Array[]} */
  const pixels = [];
  for (let at = 8; at + 8 <= bytes.length;) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (!/^[A-Za-z]{4}$/.test(kind) || kind === "IEND") break;
    const end = at + 12 + length;
    const body = bytes.subarray(at + 8, Math.min(at + 8 + length, bytes.length));
    if (end > bytes.length) {
      if (kind === "IDAT") pixels.push(body); // the last part is cut off, perhaps in its checksum
      break;
    }
    const isWhole = () => crc(bytes.subarray(at + 4, end - 4)) === view.getUint32(end - 4);
    if (CHECKED.includes(kind) && !isWhole()) throw damaged(`its part ${kind} has a wrong checksum`);
    if (ONCE.includes(kind) && seen.has(kind)) throw damaged(`it has two parts ${kind}`);
    seen.add(kind);
    if (kind === "IDAT") pixels.push(body);
    else if (CHECKED.includes(kind) || (kind === "eXIf" && isWhole())) found[kind] = body;
    else if (kind === "iCCP") found.profile = inflateSmall(body.subarray(body.indexOf(0) + 2), MOST_PROFILE);
    else if (TEXTS.includes(kind) && hasText(body, EXIF_TEXT)) found.exif = fromHex(textOf(kind, body));
    else if (TEXTS.includes(kind) && hasText(body, XMP_TEXT)) found.xmp = textOf(kind, body);
    at = end;
  }
  const header = readHeader(found.IHDR);
  if (!pixels.length) throw damaged("it holds no pixels");
  return {
    ...header,
    palette: found.PLTE,
    transparency: found.tRNS,
    exif: found.eXIf || found.exif,
    xmp: found.xmp,
    profile: found.profile,
    pixels,
  };
}

/** @param {Uint8Array | null} body */
function readHeader(body) {
  if (!body || body.length !== 13) throw damaged("its header is missing");
  const view = new DataView(body.buffer, body.byteOffset, 13);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const [bits, kind, packing, filtering, interlace] = body.subarray(8);
  if (width < 1 || height < 1 || width >= 2 ** 31 || height >= 2 ** 31) {
    throw damaged("the sides in its header are impossible");
  }
  const depths = DEPTHS[/** @type {keyof typeof DEPTHS} */ (kind)];
  if (!depths || !depths.includes(bits) || packing || filtering || interlace > 1) {
    throw damaged("its header is not that of a PNG");
  }
  requireFewPixels(width, height);
  return { width, height, bits, kind, interlaced: interlace === 1 };
}

/**
 * Return the text of a part, after its name; null where it is too long or damaged.
 * @param {string} kind
 * @param {Uint8Array} body
 */
function textOf(kind, body) {
  if (body.length > MOST_TEXT) return null;
  const rest = body.subarray(body.indexOf(0) + 1);
  if (kind === "tEXt") return rest;
  if (kind === "zTXt") return inflateSmall(rest.subarray(1), MOST_TEXT);
  let at = 2;
  for (let names = 0; names < 2; names++) at = rest.indexOf(0, at) + 1;
  return rest[0] === 1 ? inflateSmall(rest.subarray(at), MOST_TEXT) : rest.subarray(at);
}

/** @param {Uint8Array | null} text whose first three lines say what it is */
function fromHex(text) {
  if (!text) return null;
  const digits = new TextDecoder("latin1").decode(text).split("\n").slice(3).join("").replace(/\s/g, "");
  return Uint8Array.from(digits.match(/../g) || [], (pair) => parseInt(pair, 16));
}

/**
 * Decode a PNG that was checked. Raises `PictureError`.
 * @param {Png} png
 * @param {boolean} guess whether 16-bit grey that fits into 12 bits is of a camera of 12 bits
 * @returns {import("./jpeg.js").Picture}
 */
export function decodePng(png, guess) {
  const samples = unpacked(png);
  const { width, height, kind, bits } = png;
  const isGrey = kind === 0 || kind === 4;
  const data = bits === 16 && kind === 0 ? deepGrey(samples, guess) : toRgb(png, samples);
  return { width, height, channels: 3, data, kind: isGrey ? "L" : "RGB", profile: png.profile };
}

/**
 * Return the samples: of 8 bits, or smaller ones as they are; of deeper ones the upper 8 bits, but of grey all 16.
 * @param {Png} png
 */
function unpacked({ width, height, bits, kind, interlaced, pixels }) {
  const channels = CHANNELS[/** @type {keyof typeof CHANNELS} */ (kind)];
  const passes = (interlaced ? PASSES : [[0, 0, 1, 1]])
    .map(([left, top, right, down]) => ({
      ...{ left, top, right, down },
      wide: Math.ceil((width - left) / right),
      high: Math.ceil((height - top) / down),
    }))
    .filter(({ wide, high }) => wide > 0 && high > 0);
  const lineOf = (/** @type {number} */ wide) => Math.ceil((wide * channels * bits) / 8);
  const total = passes.reduce((sum, { wide, high }) => sum + high * (lineOf(wide) + 1), 0);
  const packed = pixels.length === 1 ? pixels[0] : joined(pixels);
  const { data: lines } = inflate(packed, total);
  if (lines.length < total) throw damaged("the file ends before the picture does");
  const isDeepGrey = bits === 16 && channels === 1;
  const result = isDeepGrey ? new Uint16Array(width * height) : new Uint8Array(width * height * channels);
  const step = Math.max(1, (bits * channels) >> 3);
  let at = 0;
  for (const pass of passes) {
    const line = lineOf(pass.wide);
    let before = -1;
    for (let row = 0; row < pass.high; row++, at += line + 1) {
      unfilter(lines, at + 1, line, before, step, lines[at]);
      before = at + 1;
      const to = (pass.top + row * pass.down) * width + pass.left;
      if (isDeepGrey) spreadDeep(lines, at + 1, /** @type {Uint16Array} */ (result), to, pass.wide, pass.right);
      else spread(lines, at + 1, bits, channels, result, to, pass.wide, pass.right);
    }
  }
  return result;
}

/**
 * Undo a row's filter.
 * @param {Uint8Array} lines
 * @param {number} at
 * @param {number} line
 * @param {number} before where the row above is; -1 without
 * @param {number} step bytes to the pixel at the left
 * @param {number} filter
 */
function unfilter(lines, at, line, before, step, filter) {
  const end = at + line;
  if (filter === 0) return;
  if (filter === 1) {
    for (let to = at + step; to < end; to++) lines[to] += lines[to - step];
  } else if (filter === 2) {
    if (before >= 0) for (let to = at, up = before; to < end; to++, up++) lines[to] += lines[up];
  } else if (filter === 3) {
    for (let to = at, up = before; to < end; to++, up++) {
      lines[to] += ((to - step >= at ? lines[to - step] : 0) + (before >= 0 ? lines[up] : 0)) >> 1;
    }
  } else if (filter === 4) {
    if (before < 0) unfilter(lines, at, line, before, step, 1);
    else unfilterPaeth(lines, at, end, before, step);
  } else {
    throw damaged("a row has an unknown filter");
  }
}

/**
 * @param {Uint8Array} lines
 * @param {number} at
 * @param {number} end
 * @param {number} up
 * @param {number} step
 */
function unfilterPaeth(lines, at, end, up, step) {
  for (const first = Math.min(at + step, end); at < first; at++, up++) lines[at] += lines[up];
  for (; at < end; at++, up++) {
    const left = lines[at - step];
    const above = lines[up];
    const corner = lines[up - step];
    const guess = left + above - corner;
    const far = Math.abs(guess - left);
    const near = Math.abs(guess - above);
    const diagonal = Math.abs(guess - corner);
    lines[at] += far <= near && far <= diagonal ? left : near <= diagonal ? above : corner;
  }
}

/**
 * Put a row's samples where they belong.
 * @param {Uint8Array} lines
 * @param {number} at
 * @param {number} bits
 * @param {number} channels
 * @param {Uint8Array | Uint16Array} result
 * @param {number} to pixel
 * @param {number} wide
 * @param {number} right pixels to the next
 */
function spread(lines, at, bits, channels, result, to, wide, right) {
  if (bits >= 8) {
    const step = bits >> 3;
    if (step === 1 && right === 1) {
      result.set(lines.subarray(at, at + wide * channels), to * channels);
      return;
    }
    for (let x = 0, from = at; x < wide; x++) {
      const place = (to + x * right) * channels;
      for (let channel = 0; channel < channels; channel++, from += step) result[place + channel] = lines[from];
    }
    return;
  }
  const mask = (1 << bits) - 1;
  for (let x = 0, bit = 0; x < wide; x++, bit += bits) {
    result[to + x * right] = (lines[at + (bit >> 3)] >> (8 - bits - (bit & 7))) & mask;
  }
}

/**
 * @param {Uint8Array} lines
 * @param {number} at
 * @param {Uint16Array} result
 * @param {number} to
 * @param {number} wide
 * @param {number} right
 */
function spreadDeep(lines, at, result, to, wide, right) {
  for (let x = 0; x < wide; x++, at += 2, to += right) result[to] = (lines[at] << 8) | lines[at + 1];
}

/**
 * @param {Uint8Array | Uint16Array} samples of 16 bits
 * @param {boolean} guess
 */
function deepGrey(samples, guess) {
  let most = 0;
  for (let at = 0; at < samples.length; at++) if (samples[at] > most) most = samples[at];
  const white = guess && most > 0 && most <= TWELVE_BITS ? TWELVE_BITS : 65535;
  const levels = new Uint8ClampedArray(65536).map((_, sample) => sample * (255 / white)); // which rounds halves to even
  const data = new Uint8Array(samples.length * 3);
  for (let at = 0, to = 0; at < samples.length; at++, to += 3) {
    data[to] = data[to + 1] = data[to + 2] = levels[samples[at]];
  }
  return data;
}

/**
 * Bring samples to RGB, what is transparent on white.
 * @param {Png} png
 * @param {Uint8Array | Uint16Array} samples
 */
function toRgb({ width, height, bits, kind, palette, transparency }, samples) {
  const count = width * height;
  if (kind === 2 && !transparency) return /** @type {Uint8Array} */ (samples);
  const data = new Uint8Array(count * 3);
  if (kind === 6) {
    for (let at = 0, to = 0; to < data.length; at += 4, to += 3) {
      const alpha = samples[at + 3];
      for (let channel = 0; channel < 3; channel++) data[to + channel] = opaque(samples[at + channel], alpha);
    }
  } else if (kind === 4) {
    for (let at = 0, to = 0; to < data.length; at += 2, to += 3) {
      data[to] = data[to + 1] = data[to + 2] = opaque(samples[at], samples[at + 1]);
    }
  } else if (kind === 2) {
    const [red, green, blue] = [1, 3, 5].map((at) => /** @type {Uint8Array} */ (transparency)[at]); // as Pillow has it
    for (let at = 0; at < data.length; at += 3) {
      const hidden = samples[at] === red && samples[at + 1] === green && samples[at + 2] === blue;
      for (let channel = 0; channel < 3; channel++) data[at + channel] = hidden ? 255 : samples[at + channel];
    }
  } else {
    const colours = kind === 3 ? paletteOf(palette, transparency) : greysOf(bits, transparency);
    for (let at = 0, to = 0; at < count; at++, to += 3) {
      const from = samples[at] * 3;
      data[to] = colours[from];
      data[to + 1] = colours[from + 1];
      data[to + 2] = colours[from + 2];
    }
  }
  return data;
}

/**
 * @param {Uint8Array | null} palette
 * @param {Uint8Array | null} transparency
 */
function paletteOf(palette, transparency) {
  const colours = new Uint8Array(768);
  if (palette) colours.set(palette.subarray(0, 768));
  return colours.map((level, at) => opaque(level, transparency?.[Math.floor(at / 3)] ?? 255));
}

/**
 * @param {number} bits
 * @param {Uint8Array | null} transparency
 */
function greysOf(bits, transparency) {
  const white = (1 << bits) - 1;
  // Pillow compares the lower byte with the level of 8 bits.
  const hidden = !transparency ? -1 : bits === 1 ? (transparency[0] | transparency[1] ? 255 : 0) : transparency[1];
  return new Uint8Array(768).map((_, at) => {
    const level = Math.floor(at / 3) * (255 / white);
    return level === hidden ? 255 : level;
  });
}
