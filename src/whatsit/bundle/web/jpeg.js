// JPEG, decoded to the bit as libjpeg-turbo does it (slow whole-number transform, "fancy" upsampling), and as Pillow uses
// it: a picture at least twice as large as it is needed is decoded at 1/2, 1/4 or 1/8 of its size.

import { damaged, requireFewPixels } from "./errors.js";
import { decodeScans } from "./jpeg_frame.js";
import { hasAllScans, readHeader } from "./jpeg_header.js";

/**
 * What is known of a picture before it is stretched.
 * @typedef {object} Picture
 * @property {number} width
 * @property {number} height
 * @property {3 | 4} channels RGB, or CMYK (255 is no ink's opposite: ink itself)
 * @property {Uint8Array | Uint8ClampedArray} data `height * width * channels`
 * @property {'RGB' | 'L' | 'CMYK'} kind of colours in the file: what its colour profile must be for
 * @property {Uint8Array | null} profile
 */

/**
 * Check a JPEG and read its header. Raises `PictureError`.
 * @param {Uint8Array} bytes
 */
export function checkJpeg(bytes) {
  const header = readHeader(bytes);
  requireFewPixels(header.width, header.height);
  if (lastEnd(bytes) >= header.scan) return { bytes, header };
  // A missing end is added where every byte of every scan is there.
  let length = bytes.length;
  while (length && bytes[length - 1] === 0) length--;
  if (bytes[length - 1] === 0xff) length++;
  const whole = new Uint8Array(length + 2);
  whole.set(bytes.subarray(0, length));
  whole.set([0xff, 0xd9], length);
  const cut = damaged("the file ends before the picture does");
  if (!hasAllScans(whole, header) || header.isUnusual) throw cut;
  const again = readHeader(whole);
  decodeScans(again, 1, true);
  if (again.reader.warning === "premature") throw cut;
  return { bytes: whole, header: readHeader(whole) };
}

/** @param {Uint8Array} bytes */
function lastEnd(bytes) {
  for (let at = bytes.lastIndexOf(0xd9); at > 0; at = bytes.lastIndexOf(0xd9, at - 1)) {
    if (bytes[at - 1] === 0xff) return at - 1;
  }
  return -1;
}

/**
 * Decode a JPEG that was checked. Raises `PictureError`.
 * @param {{ bytes: Uint8Array, header: import("./jpeg_header.js").JpegHeader }} checked
 * @param {number} width that it is needed in, before it is turned
 * @param {number} height
 * @returns {Picture}
 */
export function decodeJpeg({ bytes, header }, width, height) {
  const smaller = header.parts.length !== 4 && !header.isMultiple;
  const times = smaller ? Math.min(Math.floor(header.width / width), Math.floor(header.height / height)) : 1;
  const factor = [8, 4, 2].find((each) => times >= each) || 1;
  const least = 8 / factor;
  const parts = decodeScans(header, least, false);
  const kind = /** @type {const} */ ({ 1: "L", 3: "RGB", 4: "CMYK" })[/** @type {1 | 3 | 4} */ (parts.length)];
  const [wide, high] = [Math.ceil(header.width / factor), Math.ceil(header.height / factor)];
  const channels = kind === "CMYK" ? 4 : 3;
  const data = coloured(header, parts, least, wide, high, channels);
  if (channels === 3 && !header.isUnusual && endsInGrey(data) && isCutOff(bytes)) {
    throw damaged("the file ends before the picture does");
  }
  return { width: wide, height: high, channels, data, kind, profile: header.profile };
}

/** @param {Uint8ClampedArray} data which ends in the grey that lost parts get */
function endsInGrey(data) {
  return data[data.length - 1] === 128 && data[data.length - 2] === 128 && data[data.length - 3] === 128;
}

/** @param {Uint8Array} bytes */
function isCutOff(bytes) {
  const header = readHeader(bytes);
  decodeScans(header, 1, true);
  return header.reader.warning === "premature";
}

/**
 * Bring the components to one size, and their colours to RGB or CMYK.
 * @param {import("./jpeg_header.js").JpegHeader} header
 * @param {import("./jpeg_frame.js").Component[]} parts
 * @param {number} least samples of a block's side
 * @param {number} width
 * @param {number} height
 * @param {number} channels
 */
function coloured(header, parts, least, width, height, channels) {
  const rows = parts.map((part) => rowsOf(header, part, least, width));
  const data = new Uint8ClampedArray(width * height * channels);
  const paint = parts.length === 1 ? paintGrey : header.isYcc ? paintYcc : paintPlain;
  for (let row = 0; row < height; row++) {
    const lines = rows.map((rowOf) => rowOf(row));
    paint(lines, data, row * width * channels, width);
    if (parts.length === 4) paintInk(lines, data, row * width * 4, width, header.isYcc);
  }
  return data;
}

/**
 * @callback Paint
 * @param {Uint8Array[]} lines a row of each component
 * @param {Uint8ClampedArray} data
 * @param {number} at
 * @param {number} width
 */

/** @type {Paint} */
function paintGrey([grey], data, at, width) {
  for (let x = 0; x < width; x++, at += 3) data[at] = data[at + 1] = data[at + 2] = grey[x];
}

/** @type {Paint} */
function paintPlain(lines, data, at, width) {
  const channels = lines.length;
  lines.forEach((line, index) => {
    for (let x = 0, place = at + index; x < width; x++, place += channels) data[place] = line[x];
  });
}

const RED_OF_RED = new Int32Array(256);
const BLUE_OF_BLUE = new Int32Array(256);
const GREEN_OF_RED = new Int32Array(256);
const GREEN_OF_BLUE = new Int32Array(256);
for (let level = 0; level < 256; level++) {
  // ITU T.871, 7, in 16 bits after the point.
  RED_OF_RED[level] = ((level - 128) * 91881 + 32768) >> 16;
  BLUE_OF_BLUE[level] = ((level - 128) * 116130 + 32768) >> 16;
  GREEN_OF_RED[level] = (level - 128) * -46802;
  GREEN_OF_BLUE[level] = (level - 128) * -22554 + 32768;
}

/** @type {Paint} */
function paintYcc(lines, data, at, width) {
  const [luma, blue, red] = lines;
  const step = lines.length;
  for (let x = 0; x < width; x++, at += step) {
    const y = luma[x];
    const [cb, cr] = [blue[x], red[x]];
    data[at] = y + RED_OF_RED[cr];
    data[at + 1] = y + ((GREEN_OF_BLUE[cb] + GREEN_OF_RED[cr]) >> 16);
    data[at + 2] = y + BLUE_OF_BLUE[cb];
  }
}

/**
 * Make CMYK of what is there as Adobe's programs write it, with inks inverted.
 * @param {Uint8Array[]} lines
 * @param {Uint8ClampedArray} data
 * @param {number} at
 * @param {number} width
 * @param {boolean} isYcc
 */
function paintInk(lines, data, at, width, isYcc) {
  const black = lines[3];
  for (let x = 0; x < width; x++, at += 4) {
    if (!isYcc) {
      data[at] = 255 - data[at];
      data[at + 1] = 255 - data[at + 1];
      data[at + 2] = 255 - data[at + 2];
    }
    data[at + 3] = 255 - black[x];
  }
}

/**
 * Return the function that gives a component's samples of a row of the picture; they are valid until the next call.
 * @param {import("./jpeg_header.js").JpegHeader} header
 * @param {import("./jpeg_frame.js").Component} part
 * @param {number} least
 * @param {number} width
 * @returns {(row: number) => Uint8Array}
 */
function rowsOf(header, part, least, width) {
  const acrossAll = Math.max(...header.parts.map((other) => other.h));
  const downAll = Math.max(...header.parts.map((other) => other.v));
  const across = Math.floor((part.h * part.side) / least);
  const down = Math.floor((part.v * part.side) / least);
  if (acrossAll % across || downAll % down) throw damaged("its sampling factors do not fit together");
  const { samples, line } = part;
  const direct = (/** @type {number} */ row) => samples.subarray(row * line, row * line + line);
  const [wide, high] = [acrossAll / across, downAll / down];
  if (wide === 1 && high === 1) return direct;
  const out = new Uint8Array(Math.max(width, part.width * wide) + 8);
  const fancy = least > 1;
  if (fancy && wide === 1 && high === 2) return (row) => between(part, row, out);
  if (fancy && wide === 2 && high === 1 && part.width > 2) return (row) => widened(direct(row), part.width, out);
  if (fancy && wide === 2 && high === 2 && part.width > 2) {
    const sums = new Int32Array(part.width);
    return (row) => enlarged(part, row, sums, out);
  }
  return (row) => {
    const from = direct(Math.floor(row / high));
    for (let x = 0, at = 0; at < width; x++) {
      for (let copy = 0; copy < wide; copy++) out[at++] = from[x];
    }
    return out;
  };
}

/**
 * Return where a row's two neighbours are that it lies between, the nearer one first.
 * @param {import("./jpeg_frame.js").Component} part
 * @param {number} row
 */
function neighbours(part, row) {
  const near = row >> 1;
  const far = Math.min(Math.max(row & 1 ? near + 1 : near - 1, 0), part.height - 1);
  return [near * part.line, far * part.line];
}

/**
 * Twice as many rows: three quarters of the nearer one, a quarter of the other.
 * @param {import("./jpeg_frame.js").Component} part
 * @param {number} row
 * @param {Uint8Array} out
 */
function between(part, row, out) {
  const [near, far] = neighbours(part, row);
  const bias = row & 1 ? 2 : 1;
  const { samples, width } = part;
  for (let x = 0; x < width; x++) out[x] = (samples[near + x] * 3 + samples[far + x] + bias) >> 2;
  return out;
}

/**
 * Twice as many columns.
 * @param {Uint8Array} from
 * @param {number} count
 * @param {Uint8Array} out
 */
function widened(from, count, out) {
  const last = count - 1;
  out[0] = from[0];
  out[1] = (from[0] * 3 + from[1] + 2) >> 2;
  for (let x = 1; x < last; x++) {
    const sample = from[x] * 3;
    out[2 * x] = (sample + from[x - 1] + 1) >> 2;
    out[2 * x + 1] = (sample + from[x + 1] + 2) >> 2;
  }
  out[2 * last] = (from[last] * 3 + from[last - 1] + 1) >> 2;
  out[2 * last + 1] = from[last];
  return out;
}

/**
 * Twice as many rows and columns.
 * @param {import("./jpeg_frame.js").Component} part
 * @param {number} row
 * @param {Int32Array} sums
 * @param {Uint8Array} out
 */
function enlarged(part, row, sums, out) {
  const [near, far] = neighbours(part, row);
  const { samples, width } = part;
  const last = width - 1;
  for (let x = 0; x < width; x++) sums[x] = samples[near + x] * 3 + samples[far + x];
  out[0] = (sums[0] * 4 + 8) >> 4;
  out[1] = (sums[0] * 3 + sums[1] + 7) >> 4;
  for (let x = 1; x < last; x++) {
    const sum = sums[x] * 3;
    out[2 * x] = (sum + sums[x - 1] + 8) >> 4;
    out[2 * x + 1] = (sum + sums[x + 1] + 7) >> 4;
  }
  out[2 * last] = (sums[last] * 3 + sums[last - 1] + 8) >> 4;
  out[2 * last + 1] = (sums[last] * 4 + 7) >> 4;
  return out;
}
