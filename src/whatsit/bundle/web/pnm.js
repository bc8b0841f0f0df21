// PBM, PGM, PPM and PFM (netpbm.sourceforge.net/doc), decoded to RGB as whatsit does it.

import { damaged, requireFewPixels } from "./errors.js";

/** @param {Uint8Array} bytes */
export function isPnm(bytes) {
  const start = new TextDecoder("latin1").decode(bytes.subarray(0, 3));
  return /^P[1-6f][ \t\r\n#]$/.test(start);
}

/**
 * Decode a picture. Raises `PictureError`.
 * @param {Uint8Array} bytes
 * @param {boolean} guess whether floats of 0 to 1 are known
 * @returns {import("./jpeg.js").Picture}
 */
export function decodePnm(bytes, guess) {
  const kind = String.fromCharCode(bytes[1]);
  const { width, height, most, at } = readHeader(bytes, kind);
  requireFewPixels(width, height);
  const channels = kind === "3" || kind === "6" ? 3 : 1;
  const count = width * height * channels;
  const levels =
    kind === "f"
      ? greyOfFloats(bytes, at, width, height, most < 0, guess)
      : scaled(samplesOf(bytes, at, width, height, count, kind, most), most);
  if (channels === 3) return { width, height, channels, data: levels, kind: "RGB", profile: null };
  const data = new Uint8Array(count * 3);
  for (let from = 0; from < count; from++) data.fill(levels[from], from * 3, from * 3 + 3);
  return { width, height, channels: 3, data, kind: "L", profile: null };
}

/**
 * @param {Uint8Array} bytes
 * @param {string} kind
 */
function readHeader(bytes, kind) {
  const text = new TextDecoder("latin1").decode(bytes.subarray(0, 1 << 16));
  const number = /(?:\s|#[^\r\n]*[\r\n])*([+-]?[0-9.eE+-]{1,20})/y;
  number.lastIndex = 2;
  const numbers = [];
  for (let left = kind === "1" || kind === "4" ? 2 : 3; left > 0; left--) {
    const found = number.exec(text);
    if (!found) throw damaged("its header is incomplete");
    numbers.push(Number(found[1]));
  }
  const [width, height] = numbers.map(Math.trunc);
  const most = numbers.length > 2 ? numbers[2] : 1;
  const isRight = width > 0 && width < 2 ** 31 && height > 0 && height < 2 ** 31;
  if (!isRight || Number.isNaN(most) || (kind !== "f" && !(most >= 1 && most <= 65_535))) {
    throw damaged(`its header says ${width} x ${height} pixels of 0 to ${most}`);
  }
  return { width, height, most, at: number.lastIndex + 1 };
}

/**
 * @param {Uint8Array} bytes
 * @param {number} at
 * @param {number} width
 * @param {number} height
 * @param {number} count
 * @param {string} kind
 * @param {number} most
 */
function samplesOf(bytes, at, width, height, count, kind, most) {
  if (kind === "1" || kind === "2" || kind === "3") return plainSamples(bytes.subarray(at), count, kind === "1");
  const line = Math.ceil(width / 8);
  const wide = most >= 256 ? 2 : 1;
  const needed = kind === "4" ? height * line : count * wide;
  if (bytes.length - at < needed) throw damaged("the file ends before the picture does");
  const samples = new Uint16Array(count);
  if (kind === "4") {
    for (let row = 0, to = 0; row < height; row++) {
      for (let x = 0; x < width; x++, to++)
        samples[to] = 1 ^ ((bytes[at + row * line + (x >> 3)] >> (7 - (x & 7))) & 1);
    }
  } else {
    for (let to = 0; to < count; to++, at += wide)
      samples[to] = wide === 2 ? (bytes[at] << 8) | bytes[at + 1] : bytes[at];
  }
  return samples;
}

/**
 * Read decimal samples; those of a bitmap need no white space between them.
 * @param {Uint8Array} text
 * @param {number} count
 * @param {boolean} oneDigit
 */
function plainSamples(text, count, oneDigit) {
  const samples = new Uint16Array(count);
  let to = 0;
  let value = -1;
  let digits = 0;
  let isComment = false;
  for (let at = 0; at <= text.length && to < count; at++) {
    const byte = at < text.length ? text[at] : 10;
    const isEnd = byte === 10 || byte === 13;
    if (byte === 35 || (isComment && !isEnd)) isComment = true;
    else if (isEnd) isComment = false;
    if (isComment || byte === 32 || (byte >= 9 && byte <= 13)) {
      if (value > 65_535 || digits > 5) throw damaged("it holds a sample that is too large");
      if (value >= 0) samples[to++] = value;
      value = -1;
      digits = 0;
    } else if (byte < 48 || byte > (oneDigit ? 49 : 57)) {
      throw damaged("it holds what is no sample");
    } else if (oneDigit) {
      samples[to++] = 49 - byte;
    } else {
      value = Math.max(value, 0) * 10 + byte - 48;
      digits++;
    }
  }
  if (to < count) throw damaged("the file ends before the picture does");
  return samples;
}

/**
 * @param {Uint16Array} samples
 * @param {number} most
 * @returns {Uint8Array}
 */
function scaled(samples, most) {
  const levels = new Uint8ClampedArray(65536).map((_, sample) => sample * (255 / most));
  return Uint8Array.from(samples, (sample) => levels[sample]);
}

/**
 * @param {Uint8Array} bytes
 * @param {number} at
 * @param {number} width
 * @param {number} height
 * @param {boolean} little
 * @param {boolean} guess
 */
function greyOfFloats(bytes, at, width, height, little, guess) {
  if (bytes.length - at < width * height * 4) throw damaged("the file ends before the picture does");
  const view = new DataView(bytes.buffer, bytes.byteOffset + at);
  const floats = new Float64Array(width * height);
  let most = 0;
  for (let index = 0; index < floats.length; index++) {
    const value = view.getFloat32(index * 4, little);
    floats[index] = Number.isNaN(value) ? 0 : Math.min(Math.max(value, -3.4028234663852886e38), 3.4028234663852886e38);
    most = Math.max(most, floats[index]);
  }
  const white = guess && most > 0 && most <= 1 ? 1 : Math.max(255, most);
  const levels = new Uint8ClampedArray(width * height);
  for (let row = 0, to = 0; row < height; row++) {
    const from = (height - 1 - row) * width; // rows go from the bottom up
    for (let x = 0; x < width; x++, to++) levels[to] = floats[from + x] * (255 / white);
  }
  return new Uint8Array(levels.buffer);
}
