// The scans of a JPEG, decoded to the samples of its components, at the size that each is needed in.

import { damaged } from "./errors.js";
import { ZIGZAG, readBlock, readFirstAc, readFirstDc, refineAc, refineDc } from "./jpeg_entropy.js";
import { nextInside } from "./jpeg_header.js";
import { TRANSFORMS, WILD } from "./jpeg_idct.js";

const MOST_WORK = 1 << 29; // blocks times scans: files that only cost time

/** A component: luma, say. */
export class Component {
  /**
   * @param {import("./jpeg_header.js").JpegHeader} header
   * @param {number} index
   * @param {number} least samples of a side that a block of the picture has: 8, or 4, 2, 1 where it is decoded smaller
   * @param {boolean} thorough see `decodeScans`
   */
  constructor(header, index, least, thorough) {
    const { id, h, v, table } = header.parts[index];
    const mostH = Math.max(...header.parts.map((part) => part.h));
    const mostV = Math.max(...header.parts.map((part) => part.v));
    // Where a component has fewer samples, larger blocks spare the stretching (as libjpeg does it).
    let side = least;
    while (side < 8 && (mostH * least) % (h * side * 2) === 0 && (mostV * least) % (v * side * 2) === 0) side *= 2;
    this.id = id;
    this.h = h;
    this.v = v;
    this.table = table;
    this.side = side;
    this.blocksWide = Math.ceil((header.width * h) / (mostH * 8));
    this.blocksHigh = Math.ceil((header.height * v) / (mostV * 8));
    this.stride = Math.ceil(header.width / (mostH * 8)) * h; // blocks
    this.rows = Math.ceil(header.height / (mostV * 8)) * v;
    this.width = Math.ceil((header.width * h * side) / (mostH * 8)); // samples
    this.height = Math.ceil((header.height * v * side) / (mostV * 8));
    this.line = this.stride * side;
    /** @type {Int32Array | null} */
    this.divisors = null;
    this.lastDc = 0;
    /** @type {any} */
    this.dcTable = null;
    /** @type {any} */
    this.acTable = null;
    this.samples = new Uint8Array(header.progressive ? 0 : this.line * this.rows * side).fill(128);
    this.span = side === 1 && !thorough ? 1 : 64; // coefficients of a block that are kept
    this.coefficients = new Int16Array(header.progressive ? this.stride * this.rows * this.span : 0);
  }
}

/**
 * Decode all scans. Raises `PictureError`.
 * @param {import("./jpeg_header.js").JpegHeader} header
 * @param {number} least see `Component`
 * @param {boolean} thorough whether scans are decoded that no sample depends on
 */
export function decodeScans(header, least, thorough) {
  const parts = header.parts.map((_, index) => new Component(header, index, least, thorough));
  const { tables, reader } = header;
  if (!header.progressive) tables.addUsual();
  let work = 0;
  for (;;) {
    const scan = readScan(header, parts);
    work += scan.parts.reduce((sum, part) => sum + part.stride * part.rows, 1000);
    if (work > MOST_WORK) throw damaged("it has more scans than a picture needs");
    if (header.progressive) decodeProgressive(header, scan);
    else decodeSequential(header, scan);
    const isWhole = !header.progressive && scan.parts.length === parts.length;
    if (!toNextScan(reader, tables, isWhole)) break;
    if (isWhole) throw damaged("it has more scans than a picture needs");
  }
  if (header.progressive) parts.forEach(transform);
  return parts;
}

/**
 * @typedef {object} Scan
 * @property {Component[]} parts
 * @property {number} first
 * @property {number} last
 * @property {number} high
 * @property {number} low
 */

/**
 * Read what a scan begins with (T.81, B.2.3); the reader is at the length of its marker.
 * @param {import("./jpeg_header.js").JpegHeader} header
 * @param {Component[]} all
 * @returns {Scan}
 */
function readScan(header, all) {
  const { reader, tables } = header;
  const { bytes, at } = reader;
  const length = (bytes[at] << 8) | bytes[at + 1];
  const count = bytes[at + 2];
  if (at + length > bytes.length || length !== 6 + 2 * count || count < 1 || count > 4)
    throw damaged("a scan is wrong");
  const [first, last, bits] = bytes.subarray(at + length - 3, at + length);
  const [high, low] = [bits >> 4, bits & 15];
  /** @type {Component[]} */
  const parts = [];
  const progressive = header.progressive;
  if (progressive) {
    const isBand = first === 0 ? last === 0 : last >= first && last < 64 && count === 1;
    if (!isBand || low > 13 || (high && low !== high - 1)) throw damaged("a scan is wrong");
  }
  for (let index = 0; index < count; index++) {
    const id = bytes[at + 3 + 2 * index];
    const numbers = bytes[at + 4 + 2 * index];
    const part = all.find((other) => other.id === id && !parts.includes(other));
    if (!part) throw damaged("a scan is of an unknown component");
    part.divisors ||= tables.divisors[part.table]?.slice() || null;
    if (!part.divisors) throw damaged("a table of divisors is missing");
    if (!progressive || (first === 0 && high === 0)) part.dcTable = tables.codes(true, numbers >> 4);
    if (!progressive || first > 0) part.acTable = tables.codes(false, numbers & 15);
    part.lastDc = 0;
    parts.push(part);
  }
  if (count > 1 && parts.reduce((sum, part) => sum + part.h * part.v, 0) > 10) throw damaged("a scan is wrong");
  if (!progressive && (first || last !== 63 || bits)) reader.warn("other");
  reader.at = at + length;
  reader.marker = reader.buffer = reader.count = reader.zeros = reader.nextRestart = 0;
  reader.insufficient = false;
  return { parts, first, last, high, low };
}

/**
 * Call a function for every block of a scan, in its order, with restarts between.
 * @param {import("./jpeg_header.js").JpegHeader} header
 * @param {Scan} scan
 * @param {{ run: number }} band
 * @param {(part: Component, block: number) => void} decode
 */
function forBlocks(header, scan, band, decode) {
  const { reader } = header;
  const [only] = scan.parts;
  const alone = scan.parts.length === 1;
  const across = alone ? only.blocksWide : only.stride / only.h;
  const down = alone ? only.blocksHigh : only.rows / only.v;
  const { interval } = header.tables;
  let left = interval;
  for (let row = 0; row < down; row++) {
    for (let column = 0; column < across; column++) {
      if (interval) {
        if (left === 0) {
          reader.restart();
          for (const part of scan.parts) part.lastDc = 0;
          band.run = 0;
          left = interval;
        }
        left--;
      }
      if (reader.insufficient) {
        if (!interval) return;
        continue;
      }
      if (alone) {
        decode(only, row * only.stride + column);
        continue;
      }
      for (const part of scan.parts) {
        let block = row * part.v * part.stride + column * part.h;
        for (let v = 0; v < part.v; v++, block += part.stride) {
          for (let h = 0; h < part.h; h++) decode(part, block + h);
        }
      }
    }
  }
}

/**
 * @param {import("./jpeg_header.js").JpegHeader} header
 * @param {Scan} scan
 */
function decodeSequential(header, scan) {
  const { reader } = header;
  const narrow = new Int16Array(64);
  const wide = new Int32Array(64);
  forBlocks(header, scan, { run: 0 }, (part, place) => {
    const { side, stride, line, samples } = part;
    const block = side === 1 ? wide : narrow;
    block.fill(0);
    const isWild = readBlock(reader, part, block, side === 1) >= WILD;
    const row = (place / stride) | 0;
    TRANSFORMS[side](block, 0, samples, row * side * line + (place - row * stride) * side, line, isWild);
  });
  reader.drop();
}

/**
 * @param {import("./jpeg_header.js").JpegHeader} header
 * @param {Scan} scan
 */
function decodeProgressive(header, scan) {
  const { reader } = header;
  const { first, last, high, low } = scan;
  if (first > 0 && scan.parts[0].span === 1) {
    const next = nextInside(reader.bytes, reader.at); // no sample depends on it
    if (next < 0) throw damaged("the file ends before the picture does");
    reader.marker = reader.bytes[next];
    reader.at = next + 1;
    return;
  }
  const band = { first, last, high, low, run: 0 };
  const decode = first === 0 ? (high ? refineDc : readFirstDc) : high ? refineAc : readFirstAc;
  forBlocks(header, scan, band, (part, place) => {
    decode(reader, part, part.coefficients, place * part.span, band);
    if (reader.zeros) reader.checkEnd();
  });
  reader.drop();
}

/**
 * Read the markers up to the next scan; false where the picture ends.
 * @param {import("./jpeg_entropy.js").BitReader} reader
 * @param {import("./jpeg_header.js").Tables} tables
 * @param {boolean} mayEnd whether the file may end without a marker
 */
function toNextScan(reader, tables, mayEnd) {
  const { bytes } = reader;
  for (;;) {
    if (!reader.marker && mayEnd && nextInside(bytes, reader.at) < 0) return false;
    if (!reader.marker) reader.seekMarker();
    const marker = reader.marker;
    reader.marker = 0;
    if (marker === 0xd9) return false;
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) continue;
    if (marker === 0xda) return true;
    const isTable = marker === 0xdb || marker === 0xc4 || marker === 0xdd;
    if (!isTable && marker !== 0xdc && marker !== 0xfe && (marker < 0xe0 || marker > 0xef)) {
      throw damaged(`the marker 0x${marker.toString(16)} is out of place`);
    }
    const end = reader.at + ((bytes[reader.at] << 8) | bytes[reader.at + 1]);
    if (mayEnd && end > bytes.length) return false;
    if (!(end >= reader.at + 2) || end > bytes.length) throw damaged("the file ends before the picture does");
    if (isTable) tables.read(marker, bytes.subarray(reader.at + 2, end));
    reader.at = end;
  }
}

/** @param {Component} part whose coefficients become samples */
function transform(part) {
  const { side, stride, rows, line, span, coefficients, divisors } = part;
  part.samples = new Uint8Array(line * rows * side).fill(128);
  if (!divisors) return; // no scan was of it
  const block = side === 1 ? new Int32Array(64) : new Int16Array(64);
  const order = ZIGZAG.subarray(0, 64);
  const natural = new Int32Array(64);
  for (let index = 0; index < 64; index++) natural[order[index]] = divisors[index];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < stride; column++) {
      const at = (row * stride + column) * span;
      let most = 0;
      for (let index = 0; index < span; index++) {
        block[index] = Math.imul(coefficients[at + index], natural[index]);
        most |= block[index] ^ (block[index] >> 31);
      }
      TRANSFORMS[side](block, 0, part.samples, row * side * line + column * side, line, most >= WILD);
    }
  }
  part.coefficients = new Int16Array(0);
}
