// Unpacking of zlib data (RFC 1950 and 1951), to a length that is known or bounded beforehand.

import { damaged } from "./errors.js";

const LENGTHS = new Uint16Array(32);
const LENGTH_BITS = new Uint8Array(32);
const DISTANCES = new Uint16Array(32);
const DISTANCE_BITS = new Uint8Array(32);
for (let code = 0, length = 3; code < 28; code++) {
  LENGTH_BITS[code] = code < 8 ? 0 : (code - 4) >> 2;
  LENGTHS[code] = length;
  length += 1 << LENGTH_BITS[code];
}
LENGTHS[28] = 258;
for (let code = 0, distance = 1; code < 30; code++) {
  DISTANCE_BITS[code] = code < 4 ? 0 : (code - 2) >> 1;
  DISTANCES[code] = distance;
  distance += 1 << DISTANCE_BITS[code];
}
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const AHEAD = 10; // bits that are looked up at once

/**
 * A table of codes: by the next ten bits `symbol << 4 | bits`, and of longer codes what follows them, bit by bit.
 * @typedef {{ short: Uint16Array, counts: Uint16Array, symbols: Uint16Array }} Codes
 */

/**
 * @param {Uint8Array} sizes bits of each symbol's code
 * @param {boolean} mayBeIncomplete as codes of distances with one symbol are
 * @returns {Codes}
 */
function codesOf(sizes, mayBeIncomplete) {
  const counts = new Uint16Array(16);
  for (const size of sizes) counts[size]++;
  counts[0] = 0;
  const starts = new Uint16Array(17);
  const firsts = new Uint16Array(17);
  let left = 1;
  for (let bits = 1; bits < 16; bits++) {
    left = 2 * left - counts[bits];
    if (left < 0) throw damaged("its packed data are wrong");
    starts[bits + 1] = starts[bits] + counts[bits];
    firsts[bits + 1] = (firsts[bits] + counts[bits]) << 1;
  }
  const used = starts[16];
  if (left > 0 && !(used === 0 && mayBeIncomplete) && !(used === 1 && counts[1] === 1)) {
    throw damaged("its packed data are wrong");
  }
  const symbols = new Uint16Array(sizes.length);
  const short = new Uint16Array(1 << AHEAD);
  sizes.forEach((size, symbol) => {
    if (!size) return;
    symbols[starts[size]++] = symbol;
    let code = firsts[size]++;
    if (size > AHEAD) return;
    let reversed = 0;
    for (let bit = 0; bit < size; bit++, code >>= 1) reversed = (reversed << 1) | (code & 1);
    for (let at = reversed; at < 1 << AHEAD; at += 1 << size) short[at] = (symbol << 4) | size;
  });
  return { short, counts, symbols };
}

/** @type {{ literals: Codes, distances: Codes } | null} */
let fixed = null;

function fixedCodes() {
  const sizes = new Uint8Array(288).fill(8, 0, 144).fill(9, 144, 256).fill(7, 256, 280).fill(8, 280);
  fixed ||= { literals: codesOf(sizes, false), distances: codesOf(new Uint8Array(32).fill(5), false) };
  return fixed;
}

const ENOUGH = Symbol("all that is needed was unpacked, and nothing more is there to be checked");

class Unpacker {
  /**
   * @param {Uint8Array} bytes
   * @param {Uint8Array} out
   */
  constructor(bytes, out) {
    this.bytes = bytes;
    this.at = 2;
    this.buffer = 0;
    this.count = 0;
    this.out = out;
    this.length = 0; // that was unpacked
  }

  get isFull() {
    return this.length === this.out.length;
  }

  /** What it means that the data end. */
  end() {
    return this.isFull ? ENOUGH : damaged("the file ends before the picture does");
  }

  /** @param {number} bits at most 24 */
  need(bits) {
    while (this.count < bits) {
      if (this.at >= this.bytes.length) throw this.end();
      this.buffer |= this.bytes[this.at++] << this.count;
      this.count += 8;
    }
  }

  /** @param {number} bits */
  take(bits) {
    this.need(bits);
    const value = this.buffer & ((1 << bits) - 1);
    this.buffer >>>= bits;
    this.count -= bits;
    return value;
  }

  /** @param {Codes} codes */
  symbol(codes) {
    while (this.count < 15 && this.at < this.bytes.length) {
      this.buffer |= this.bytes[this.at++] << this.count;
      this.count += 8;
    }
    const entry = codes.short[this.buffer & ((1 << AHEAD) - 1)];
    const bits = entry & 15;
    if (entry && bits <= this.count) {
      this.buffer >>>= bits;
      this.count -= bits;
      return entry >> 4;
    }
    return this.longSymbol(codes);
  }

  /** @param {Codes} codes */
  longSymbol(codes) {
    let code = 0;
    let first = 0;
    let index = 0;
    for (let bits = 1; bits < 16; bits++) {
      code |= this.take(1);
      const count = codes.counts[bits];
      if (code - count < first) return codes.symbols[index + code - first];
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    throw damaged("its packed data are wrong");
  }

  copyStored() {
    this.at -= this.count >> 3;
    this.buffer = this.count = 0;
    const { bytes, at, out } = this;
    const length = bytes[at] | (bytes[at + 1] << 8);
    if (at + 4 > bytes.length) throw this.end();
    if (length !== (0xffff ^ (bytes[at + 2] | (bytes[at + 3] << 8)))) throw damaged("its packed data are wrong");
    if (this.isFull && length) throw ENOUGH;
    const fits = Math.min(length, out.length - this.length);
    if (at + 4 + fits > bytes.length) throw damaged("the file ends before the picture does");
    out.set(bytes.subarray(at + 4, at + 4 + fits), this.length);
    this.length += fits;
    this.at = at + 4 + length;
  }

  readCodes() {
    const literals = this.take(5) + 257;
    const distances = this.take(5) + 1;
    const count = this.take(4) + 4;
    if (literals > 286 || distances > 30) throw damaged("its packed data are wrong");
    const sizes = new Uint8Array(19);
    for (let index = 0; index < count; index++) sizes[ORDER[index]] = this.take(3);
    const codes = codesOf(sizes, false);
    const all = new Uint8Array(literals + distances);
    for (let index = 0; index < all.length;) {
      const symbol = this.symbol(codes);
      if (symbol < 16) {
        all[index++] = symbol;
        continue;
      }
      if (symbol === 16 && index === 0) throw damaged("its packed data are wrong");
      const repeated = symbol === 16 ? all[index - 1] : 0;
      const times = symbol === 16 ? 3 + this.take(2) : symbol === 17 ? 3 + this.take(3) : 11 + this.take(7);
      if (index + times > all.length) throw damaged("its packed data are wrong");
      all.fill(repeated, index, index + times);
      index += times;
    }
    if (!all[256]) throw damaged("its packed data are wrong");
    return { literals: codesOf(all.subarray(0, literals), false), distances: codesOf(all.subarray(literals), true) };
  }

  /**
   * Unpack as long as there is plenty of room and of data, without looking for their ends; false where the block ends.
   * @param {{ literals: Codes, distances: Codes }} codes
   */
  unpackMost({ literals, distances }) {
    const { out, bytes } = this;
    const { short } = literals;
    const [lastByte, lastPlace] = [bytes.length - 16, out.length - 300];
    let { at, buffer, count } = this;
    let to = this.length;
    let symbol = 0;
    while (at < lastByte && to < lastPlace) {
      while (count < 24) {
        buffer |= bytes[at++] << count;
        count += 8;
      }
      const entry = short[buffer & ((1 << AHEAD) - 1)];
      if (entry) {
        buffer >>>= entry & 15;
        count -= entry & 15;
        symbol = entry >> 4;
        if (symbol < 256) {
          out[to++] = symbol;
          continue;
        }
      }
      this.at = at;
      this.buffer = buffer;
      this.count = count;
      this.length = to;
      if (!entry) symbol = this.longSymbol(literals);
      if (symbol < 256) out[to++] = symbol;
      else if (symbol === 256) return false;
      else to = this.copy(symbol, distances, to);
      ({ at, buffer, count } = this);
    }
    this.at = at;
    this.buffer = buffer;
    this.count = count;
    this.length = to;
    return true;
  }

  /**
   * Copy what was unpacked before; return where it ends.
   * @param {number} symbol
   * @param {Codes} distances
   * @param {number} to
   */
  copy(symbol, distances, to) {
    const { out } = this;
    if (symbol > 285) throw damaged("its packed data are wrong");
    const code = symbol - 257;
    const length = LENGTHS[code] + this.take(LENGTH_BITS[code]);
    const far = this.symbol(distances);
    if (far > 29) throw damaged("its packed data are wrong");
    const distance = DISTANCES[far] + this.take(DISTANCE_BITS[far]);
    if (distance > to) throw damaged("its packed data are wrong");
    if (to === out.length) throw ENOUGH;
    const end = Math.min(to + length, out.length);
    for (let from = to - distance; to < end; to++, from++) out[to] = out[from];
    return to;
  }

  /** @param {{ literals: Codes, distances: Codes }} codes */
  unpackBlock(codes) {
    if (!this.unpackMost(codes)) return;
    const { out } = this;
    const { literals, distances } = codes;
    let to = this.length;
    for (;;) {
      if (to === out.length) this.length = to;
      const symbol = this.symbol(literals);
      if (symbol < 256) {
        if (to === out.length) throw ENOUGH;
        out[to++] = symbol;
        continue;
      }
      if (symbol === 256) break;
      to = this.copy(symbol, distances, to);
    }
    this.length = to;
  }
}

/** @param {Uint8Array} data */
function adler(data) {
  let [low, high] = [1, 0];
  for (let at = 0; at < data.length;) {
    const end = Math.min(at + 3800, data.length);
    for (; at < end; at++) {
      low += data[at];
      high += low;
    }
    low %= 65521;
    high %= 65521;
  }
  return high * 65536 + low;
}

/**
 * Unpack zlib data until they end or `length` bytes are there, which is as far as zlib looks: damage after that does not
 * count, but the checksum does where it follows. Raises `PictureError` where they are damaged or cut off before.
 * @param {Uint8Array} packed
 * @param {number} length
 * @returns {{ data: Uint8Array, isWhole: boolean }} `data` are as long as was unpacked
 */
export function inflate(packed, length) {
  const [method, flags] = packed;
  if (packed.length < 2) throw damaged("the file ends before the picture does");
  if ((method & 15) !== 8 || method >> 4 > 7 || (method * 256 + flags) % 31 || flags & 32) {
    throw damaged("its packed data are wrong");
  }
  const unpacker = new Unpacker(packed, new Uint8Array(length));
  let isWhole = false;
  try {
    for (let isLast = false; !isLast;) {
      isLast = unpacker.take(1) === 1;
      const kind = unpacker.take(2);
      if (kind === 0) unpacker.copyStored();
      else if (kind === 1) unpacker.unpackBlock(fixedCodes());
      else if (kind === 2) unpacker.unpackBlock(unpacker.readCodes());
      else throw damaged("its packed data are wrong");
    }
    const at = unpacker.at - (unpacker.count >> 3);
    isWhole = at + 4 <= packed.length;
    const sum = isWhole ? new DataView(packed.buffer, packed.byteOffset + at).getUint32(0) : 0;
    if (isWhole && sum !== adler(unpacker.out.subarray(0, unpacker.length))) throw damaged("its packed data are wrong");
  } catch (error) {
    if (error !== ENOUGH) throw error;
  }
  return { data: unpacker.out.subarray(0, unpacker.length), isWhole };
}

/**
 * Unpack a small part whole; null where it is damaged or longer than `most` bytes.
 * @param {Uint8Array} packed
 * @param {number} most
 */
export function inflateSmall(packed, most) {
  for (let room = Math.min(most, 8 * packed.length + 1024); ; room = Math.min(most, room * 8)) {
    try {
      const { data, isWhole } = inflate(packed, room);
      if (isWhole) return data;
      if (data.length < room || room === most) return null;
    } catch {
      return null;
    }
  }
}
