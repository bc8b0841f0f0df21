// The entropy coding of JPEG: Huffman codes, baseline and progressive (ITU T.81, F.2.2 and G.2), as libjpeg reads them.
//
// What a damaged file gives follows libjpeg too: where bits run out at a marker, zeros follow, and blocks after that are
// left as they are until the next restart; a code that does not exist counts as zero.

import { damaged } from "./errors.js";

const AHEAD = 9; // bits that are looked up at once

// Where the coefficients of the zigzag order belong; runs beyond the end lead to the last one.
export const ZIGZAG = new Uint8Array(80).fill(63);
{
  let index = 0;
  for (let diagonal = 0; diagonal < 15; diagonal++) {
    for (let step = 0; step <= diagonal; step++) {
      const [row, column] = diagonal % 2 ? [step, diagonal - step] : [diagonal - step, step];
      if (row < 8 && column < 8) ZIGZAG[index++] = row * 8 + column;
    }
  }
}

/** A Huffman table (T.81, C.2 and F.2.2.3). */
export class HuffmanTable {
  /**
   * @param {Uint8Array} counts of codes of 1 to 16 bits
   * @param {Uint8Array} symbols
   */
  constructor(counts, symbols) {
    this.symbols = new Uint8Array(256);
    this.symbols.set(symbols);
    this.lookup = new Int16Array(1 << AHEAD); // (bits << 8 | symbol), or 0 for longer codes
    this.largest = new Int32Array(18).fill(-1); // code of each length
    this.offsets = new Int32Array(18);
    this.largest[17] = 0xfffff;
    let code = 0;
    let index = 0;
    for (let bits = 1; bits <= 16; bits++, code <<= 1) {
      const count = counts[bits - 1];
      if (count && code + count >= 1 << bits) throw damaged("a table of codes is wrong");
      this.offsets[bits] = index - code;
      for (let number = 0; number < count; number++, code++, index++) {
        if (bits > AHEAD) continue;
        const first = code << (AHEAD - bits);
        this.lookup.fill((bits << 8) | this.symbols[index], first, first + (1 << (AHEAD - bits)));
      }
      if (count) this.largest[bits] = code - 1;
    }
    this.isForDc = symbols.every((symbol) => symbol <= 15);
  }
}

/** Reads the bits of a scan. */
export class BitReader {
  /**
   * @param {Uint8Array} bytes
   * @param {number} at
   */
  constructor(bytes, at) {
    this.bytes = bytes;
    this.at = at;
    this.buffer = 0; // its lowest `count` bits are the next ones
    this.count = 0;
    this.marker = 0; // that was met
    this.zeros = 0; // bits of the buffer that are not in the file
    this.insufficient = false; // bits that are not in the file were used
    this.nextRestart = 0;
    /** @type {'' | 'premature' | 'other'} the first thing that libjpeg would warn of */
    this.warning = "";
  }

  /** @param {'premature' | 'other'} what */
  warn(what) {
    this.warning ||= what;
  }

  /** Take bytes until there are at least 25 bits. */
  fill() {
    const bytes = this.bytes;
    while (this.count <= 24) {
      let byte = 0;
      if (!this.marker) {
        if (this.at >= bytes.length) throw damaged("the file ends before the picture does");
        byte = bytes[this.at++];
        if (byte === 0xff) {
          do {
            if (this.at >= bytes.length) throw damaged("the file ends before the picture does");
            byte = bytes[this.at++];
          } while (byte === 0xff);
          if (byte === 0) {
            byte = 0xff;
          } else {
            this.marker = byte;
            byte = 0;
          }
        }
      }
      if (this.marker) this.zeros += 8;
      this.buffer = (this.buffer << 8) | byte;
      this.count += 8;
    }
  }

  /** Note, after a block, whether bits were used that are not in the file. */
  checkEnd() {
    if (this.count < this.zeros) {
      if (!this.insufficient) this.warn("premature");
      this.insufficient = true;
      this.zeros = this.count;
    }
  }

  /** @param {number} bits 0 to 16 */
  take(bits) {
    if (this.count < bits) this.fill();
    this.count -= bits;
    return (this.buffer >>> this.count) & ((1 << bits) - 1);
  }

  /** @param {HuffmanTable} table */
  symbol(table) {
    if (this.count < 17) this.fill();
    const entry = table.lookup[(this.buffer >>> (this.count - AHEAD)) & ((1 << AHEAD) - 1)];
    if (entry) {
      this.count -= entry >> 8;
      return entry & 255;
    }
    return this.longSymbol(table);
  }

  /** @param {HuffmanTable} table */
  longSymbol(table) {
    let bits = AHEAD + 1;
    let code = this.take(bits);
    while (code > table.largest[bits]) {
      code = (code << 1) | this.take(1);
      bits++;
    }
    if (bits > 16) {
      this.warn("other");
      return 0;
    }
    return table.symbols[(code + table.offsets[bits]) & 255];
  }

  /** Go to the next marker, over whatever is between. */
  seekMarker() {
    const bytes = this.bytes;
    let skipped = false;
    for (;;) {
      while (this.at < bytes.length && bytes[this.at] !== 0xff) {
        this.at++;
        skipped = true;
      }
      while (this.at < bytes.length && bytes[this.at] === 0xff) this.at++;
      if (this.at >= bytes.length) throw damaged("the file ends before the picture does");
      this.marker = bytes[this.at++];
      if (this.marker) break;
      skipped = true;
    }
    if (skipped) this.warn("other");
  }

  /** Forget the bits that are left before a marker. */
  drop() {
    if (this.count - this.zeros >= 8) this.warn("other");
    this.count = this.zeros = 0;
  }

  /** Go to the restart that is due (T.81, E.2.4; what libjpeg does where another marker is there). */
  restart() {
    this.drop();
    if (!this.marker) this.seekMarker();
    const due = this.nextRestart;
    this.nextRestart = (due + 1) & 7;
    if (this.marker === 0xd0 + due) {
      this.marker = 0;
    } else {
      this.warn("other");
      this.resume(due);
    }
    if (!this.marker) this.insufficient = false;
  }

  /** @param {number} due */
  resume(due) {
    for (;;) {
      const ahead = (this.marker - 0xd0 - due) & 7;
      const isRestart = this.marker >= 0xd0 && this.marker <= 0xd7;
      if (this.marker < 0xc0 || (isRestart && ahead >= 6)) {
        this.seekMarker();
      } else {
        if (isRestart && ahead !== 1 && ahead !== 2) this.marker = 0;
        return;
      }
    }
  }
}

/**
 * @param {number} bits
 * @param {number} size
 */
function extended(bits, size) {
  return bits < 1 << (size - 1) ? bits - (1 << size) + 1 : bits;
}

/**
 * Decode a block of a sequential JPEG (T.81, F.2.2).
 * @param {BitReader} reader
 * @param {import("./jpeg_frame.js").Component} part
 * @param {Int16Array | Int32Array} block that takes the coefficients times their divisors; all zero before
 * @param {boolean} onlyDc whether the others are not needed
 * @returns {number} a number that is at least as large as the largest coefficient, by less than twice
 */
export function readBlock(reader, part, block, onlyDc) {
  const divisors = /** @type {Int32Array} */ (part.divisors);
  const { acTable } = part;
  const size = reader.symbol(part.dcTable);
  if (size) part.lastDc += extended(reader.take(size), size);
  block[0] = Math.imul((part.lastDc << 16) >> 16, divisors[0]);
  let most = block[0] ^ (block[0] >> 31);
  const lookup = acTable.lookup;
  let buffer = reader.buffer;
  let count = reader.count;
  for (let index = 1; index < 64; index++) {
    if (count < 25) {
      reader.buffer = buffer;
      reader.count = count;
      reader.fill();
      buffer = reader.buffer;
      count = reader.count;
    }
    const entry = lookup[(buffer >>> (count - AHEAD)) & ((1 << AHEAD) - 1)];
    let symbol = entry & 255;
    if (entry) {
      count -= entry >> 8;
    } else {
      reader.count = count;
      symbol = reader.longSymbol(acTable);
      buffer = reader.buffer;
      count = reader.count;
    }
    const bits = symbol & 15;
    if (bits) {
      index += symbol >> 4;
      if (count < bits) {
        reader.buffer = buffer;
        reader.count = count;
        reader.fill();
        buffer = reader.buffer;
        count = reader.count;
      }
      count -= bits;
      if (onlyDc) continue;
      const value = (buffer >>> count) & ((1 << bits) - 1);
      const signed = value < 1 << (bits - 1) ? value - (1 << bits) + 1 : value;
      const coefficient = (Math.imul(signed, divisors[index]) << 16) >> 16;
      block[ZIGZAG[index]] = coefficient;
      most |= coefficient ^ (coefficient >> 31);
    } else if (symbol === 0xf0) {
      index += 15;
    } else {
      break;
    }
  }
  reader.buffer = buffer;
  reader.count = count;
  if (reader.zeros) reader.checkEnd();
  return most;
}

/**
 * The four kinds of progressive scans (T.81, G.1.2 and G.2), as functions that decode a block.
 * @typedef {{ first: number, last: number, high: number, low: number, run: number }} Band
 * @typedef {(reader: BitReader, part: import("./jpeg_frame.js").Component, block: Int16Array, at: number, band: Band) => void} ReadPart
 */

/** @type {ReadPart} */
export function readFirstDc(reader, part, block, at, band) {
  const size = reader.symbol(part.dcTable);
  if (size) part.lastDc += extended(reader.take(size), size);
  if (part.lastDc < -(2 ** 31) || part.lastDc >= 2 ** 31) throw damaged("a coefficient is out of range");
  block[at] = part.lastDc << band.low;
}

/** @type {ReadPart} */
export function refineDc(reader, part, block, at, band) {
  if (reader.take(1)) block[at] |= 1 << band.low;
}

/** @type {ReadPart} */
export function readFirstAc(reader, part, block, at, band) {
  if (band.run > 0) {
    band.run--;
    return;
  }
  const table = part.acTable;
  for (let index = band.first; index <= band.last; index++) {
    const symbol = reader.symbol(table);
    const zeros = symbol >> 4;
    const bits = symbol & 15;
    if (bits) {
      index += zeros;
      block[at + ZIGZAG[index]] = extended(reader.take(bits), bits) << band.low;
    } else if (zeros === 15) {
      index += 15;
    } else {
      band.run = (1 << zeros) - 1 + (zeros ? reader.take(zeros) : 0);
      break;
    }
  }
}

/** @type {ReadPart} */
export function refineAc(reader, part, block, at, band) {
  const table = part.acTable;
  const plus = 1 << band.low;
  let index = band.first;
  for (; band.run === 0 && index <= band.last; index++) {
    const symbol = reader.symbol(table);
    let zeros = symbol >> 4;
    let value = 0;
    if (symbol & 15) {
      if ((symbol & 15) !== 1) reader.warn("other");
      value = reader.take(1) ? plus : -plus;
    } else if (zeros !== 15) {
      band.run = (1 << zeros) + (zeros ? reader.take(zeros) : 0);
      break;
    }
    for (; index <= band.last; index++) {
      const place = at + ZIGZAG[index];
      if (block[place]) {
        refine(reader, block, place, plus);
      } else if (--zeros < 0) {
        break;
      }
    }
    if (value) block[at + ZIGZAG[index]] = value;
  }
  if (band.run > 0) {
    for (; index <= band.last; index++) {
      const place = at + ZIGZAG[index];
      if (block[place]) refine(reader, block, place, plus);
    }
    band.run--;
  }
}

/**
 * @param {BitReader} reader
 * @param {Int16Array} block
 * @param {number} place
 * @param {number} plus
 */
function refine(reader, block, place, plus) {
  if (reader.take(1) && !(block[place] & plus)) block[place] += block[place] >= 0 ? plus : -plus;
}
