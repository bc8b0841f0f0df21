// What the markers before the first scan of a JPEG say (ITU T.81, annex B).

import { hasText, joined } from "./bytes.js";
import { damaged, unsupported } from "./errors.js";
import { BitReader, HuffmanTable, ZIGZAG } from "./jpeg_entropy.js";

const KINDS = {
  0xc3: "a lossless JPEG",
  0xc5: "a hierarchical JPEG",
  0xc6: "a hierarchical JPEG",
  0xc7: "a lossless JPEG",
  0xc9: "a JPEG with arithmetic coding",
  0xca: "a JPEG with arithmetic coding",
  0xcb: "a lossless JPEG",
  0xcc: "a JPEG with arithmetic coding",
  0xcd: "a hierarchical JPEG",
  0xce: "a hierarchical JPEG",
  0xcf: "a lossless JPEG",
  0xf7: "a JPEG-LS picture",
};
const ALLOWED = new Set([0xc0, 0xc1, 0xc2, 0xc4, 0xdb, 0xdd, 0xda, 0xfe]);
for (let marker = 0xe0; marker < 0xf0; marker++) ALLOWED.add(marker);

const EXIF = "Exif\0\0";
const XMP = "http://ns.adobe.com/xap/1.0/\0";
const PROFILE = "ICC_PROFILE\0";
const INDEX = "MPF\0";

// The tables of T.81, K.3: counts of codes of 1 to 16 bits, and symbols; what frames of Motion JPEG leave out.
const DC_COUNTS = ["00010501010101010100000000000000", "00030101010101010101010000000000"];
const AC_COUNTS = ["0002010303020403050504040000017d", "00020102040403040705040400010277"];
const AC_SYMBOLS = [
  "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738" +
    "393a434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6" +
    "a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa",
  "0001020311040521310612415107617113223281081442" +
    "91a1b1c109233352f0156272d10a162434e125f11718191a262728292a35363738393a434445464748494a535455565758595a6364656667" +
    "68696a737475767778797a82838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9ca" +
    "d2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa",
];

/** @param {string} hex */
function fromHex(hex) {
  return Uint8Array.from(hex.match(/../g) || [], (pair) => parseInt(pair, 16));
}

/** The tables that scans are decoded with, as the markers so far give them. */
export class Tables {
  constructor() {
    /** @type {(Int32Array | undefined)[]} in zigzag order */
    this.divisors = [];
    /** @type {(HuffmanTable | undefined)[]} */
    this.dc = [];
    /** @type {(HuffmanTable | undefined)[]} */
    this.ac = [];
    this.interval = 0; // blocks between restarts
  }

  /**
   * Take what a DQT, DHT or DRI marker says.
   * @param {number} marker
   * @param {Uint8Array} body
   */
  read(marker, body) {
    if (marker === 0xdb) this.readDivisors(body);
    else if (marker === 0xc4) this.readCodes(body);
    else if (body.length === 2) this.interval = (body[0] << 8) | body[1];
    else throw damaged("its interval of restarts is wrong");
  }

  /** @param {Uint8Array} body */
  readDivisors(body) {
    for (let at = 0; at < body.length;) {
      const number = body[at] & 15;
      const wide = body[at++] >> 4 ? 2 : 1;
      if (number > 3 || at + 64 * wide > body.length) throw damaged("a table of divisors is wrong");
      const table = new Int32Array(80);
      for (let index = 0; index < 64; index++, at += wide) {
        table[index] = wide === 2 ? (body[at] << 8) | body[at + 1] : body[at];
      }
      table.fill(table[63], 64); // for damaged runs beyond the end
      this.divisors[number] = table;
    }
  }

  /** @param {Uint8Array} body */
  readCodes(body) {
    let at = 0;
    while (at + 17 <= body.length) {
      const counts = body.subarray(at + 1, at + 17);
      const total = counts.reduce((sum, count) => sum + count, 0);
      const number = body[at] & 15;
      if (total > 256 || at + 17 + total > body.length || number > 3 || body[at] > 0x1f) {
        throw damaged("a table of codes is wrong");
      }
      const table = { counts: counts.slice(), symbols: body.slice(at + 17, at + 17 + total) };
      (body[at] >> 4 ? this.ac : this.dc)[number] = /** @type {any} */ (table);
      at += 17 + total;
    }
    if (at !== body.length) throw damaged("a table of codes is wrong");
  }

  /** Use the usual tables for those that are missing. */
  addUsual() {
    for (const number of [0, 1]) {
      const symbols = Uint8Array.from({ length: 12 }, (_, index) => index);
      this.dc[number] ||= /** @type {any} */ ({ counts: fromHex(DC_COUNTS[number]), symbols });
      const long = fromHex(AC_SYMBOLS[number]);
      this.ac[number] ||= /** @type {any} */ ({ counts: fromHex(AC_COUNTS[number]), symbols: long });
    }
  }

  /**
   * Return the table of codes for a scan; it is built when it is first used, as only then it must be right.
   * @param {boolean} isDc
   * @param {number} number
   * @returns {HuffmanTable}
   */
  codes(isDc, number) {
    const tables = isDc ? this.dc : this.ac;
    const table = /** @type {any} */ (tables[number]);
    if (!table) throw damaged("a table of codes is missing");
    const built = table instanceof HuffmanTable ? table : new HuffmanTable(table.counts, table.symbols);
    tables[number] = built;
    if (isDc && !built.isForDc) throw damaged("a table of codes is wrong");
    return built;
  }
}

/**
 * A JPEG's header.
 * @typedef {object} JpegHeader
 * @property {number} width
 * @property {number} height
 * @property {boolean} progressive
 * @property {{ id: number, h: number, v: number, table: number }[]} parts the components
 * @property {boolean} isYcc colours are luma and chroma
 * @property {boolean} isPlain there is no EXIF, XMP or colour profile, and sampling is usual
 * @property {boolean} isUnusual three components of a sampling that not every decoder knows
 * @property {boolean} isMultiple it begins a file of several pictures (MPO), which is never decoded smaller
 * @property {Uint8Array | null} exif
 * @property {Uint8Array | null} xmp
 * @property {Uint8Array | null} profile
 * @property {Tables} tables
 * @property {BitReader} reader at the first scan
 * @property {number} scan where the length of the first scan's marker is
 */

/**
 * Read the markers up to the first scan. Raises `PictureError`.
 * @param {Uint8Array} bytes
 * @returns {JpegHeader}
 */
export function readHeader(bytes) {
  const tables = new Tables();
  const reader = new BitReader(bytes, 2);
  const found = { exif: [], xmp: [], profile: [], index: [], isGainMap: false, hasParts: false };
  /** @type {Uint8Array} */
  let frame = new Uint8Array(0);
  let progressive = false;
  let adobe = -1;
  let jfif = false;
  for (;;) {
    reader.seekMarker();
    const marker = reader.marker;
    if (marker >= 0xd0 && marker <= 0xd7) continue;
    const start = reader.at + 2;
    const end = reader.at + ((bytes[reader.at] << 8) | bytes[reader.at + 1]);
    if (!(end >= start) || !ALLOWED.has(marker)) {
      if (marker in KINDS) throw unsupported(KINDS[/** @type {keyof typeof KINDS} */ (marker)]);
      throw damaged(`the marker 0x${marker.toString(16)} in its header is out of place`);
    }
    if (marker === 0xda) break;
    if (end > bytes.length) throw damaged("its header is incomplete");
    const body = bytes.subarray(start, end);
    if (marker === 0xfe) {
      // a comment
    } else if (marker >= 0xe0) {
      if (marker === 0xee && hasText(body, "Adobe") && body.length >= 12) adobe = body[11];
      if (marker === 0xe0 && hasText(body, "JFIF\0") && body.length >= 14) jfif = true;
      takePart(found, marker, body);
    } else if (marker <= 0xc2) {
      if (frame.length) throw damaged("it has two headers");
      frame = body;
      progressive = marker === 0xc2;
    } else {
      tables.read(marker, body);
    }
    reader.at = end;
  }
  checkFrame(frame);
  const count = frame[5];
  const parts = Array.from({ length: count }, (_, index) => {
    const at = 6 + 3 * index;
    return { id: frame[at], h: frame[at + 1] >> 4, v: frame[at + 1] & 15, table: frame[at + 2] };
  });
  const isUnusual = count === 3 && !isUsual(parts);
  return {
    width: (frame[3] << 8) | frame[4],
    height: (frame[1] << 8) | frame[2],
    progressive,
    parts,
    isYcc: isYcc(parts, jfif, adobe),
    isPlain: !found.hasParts && !isUnusual && count !== 4,
    isUnusual,
    isMultiple: !found.isGainMap && found.index.length > 0 && countOfIndex(found.index[found.index.length - 1]) > 1,
    exif: found.exif.length ? joined(found.exif) : null,
    xmp: found.xmp.length ? found.xmp[found.xmp.length - 1] : null,
    profile: profileOf(found.profile),
    tables,
    reader,
    scan: reader.at,
  };
}

/**
 * @param {any} found
 * @param {number} marker
 * @param {Uint8Array} body
 */
function takePart(found, marker, body) {
  if (hasText(body, EXIF) || hasText(body, "http://ns.adobe.com/xap") || hasText(body, PROFILE)) found.hasParts = true;
  if (marker === 0xe1) {
    if (hasText(body, EXIF)) found.exif.push(body.subarray(6));
    if (hasText(body, XMP)) found.xmp.push(body.subarray(XMP.length));
    if (new TextDecoder("latin1").decode(body).includes(' hdrgm:Version="')) found.isGainMap = true;
  } else if (marker === 0xe2) {
    if (hasText(body, PROFILE) && body.length >= 14) found.profile.push(body);
    if (hasText(body, INDEX)) found.index.push(body.subarray(4));
  }
}

/** @param {Uint8Array} frame */
function checkFrame(frame) {
  const count = frame.length > 5 ? frame[5] : 0;
  if (frame.length !== 6 + 3 * count || !count) throw damaged("its header is incomplete");
  if (frame[0] !== 8) throw unsupported(`a JPEG of ${frame[0]} bits`);
  if (count !== 1 && count !== 3 && count !== 4) throw unsupported(`a JPEG of ${count} components`);
  if (!(frame[1] | frame[2]) || !(frame[3] | frame[4])) throw damaged("its header says that it has no pixels");
  for (let at = 7; at < frame.length; at += 3) {
    const [h, v] = [frame[at] >> 4, frame[at] & 15];
    if (h < 1 || h > 4 || v < 1 || v > 4) throw damaged("its sampling factors are out of range");
  }
}

/** @param {{ h: number, v: number }[]} parts */
function isUsual([luma, blue, red]) {
  const chroma = blue.h === 1 && blue.v === 1 && red.h === 1 && red.v === 1;
  return chroma && ((luma.v === 1 && luma.h !== 3) || (luma.v === 2 && luma.h <= 2));
}

/**
 * @param {{ id: number }[]} parts
 * @param {boolean} jfif
 * @param {number} adobe the transform in its marker; -1 without
 */
function isYcc(parts, jfif, adobe) {
  if (parts.length === 4) return adobe > 0;
  if (parts.length !== 3) return false;
  if (jfif) return true;
  if (adobe >= 0) return adobe !== 0;
  return String(parts.map((part) => part.id)) !== "82,71,66"; // RGB
}

/** @param {Uint8Array[]} pieces */
function profileOf(pieces) {
  if (!pieces.length) return null;
  const sorted = [...pieces].sort((one, other) => one[12] - other[12]);
  return sorted[0][13] === sorted.length ? joined(sorted.map((piece) => piece.subarray(14))) : null;
}

/**
 * Return how many pictures an index of pictures lists (CIPA DC-007); 0 where it is damaged.
 * @param {Uint8Array} index
 */
function countOfIndex(index) {
  const view = new DataView(index.buffer, index.byteOffset, index.byteLength);
  try {
    const little = view.getUint16(0) === 0x4949;
    const start = view.getUint32(4, little);
    let pictures = 0;
    let hasEntries = false;
    for (let left = view.getUint16(start, little), at = start + 2; left > 0; left--, at += 12) {
      const tag = view.getUint16(at, little);
      if (tag === 0xb001) pictures = view.getUint32(at + 8, little);
      if (tag === 0xb002) hasEntries = true;
    }
    return hasEntries ? pictures : 0;
  } catch {
    return 0;
  }
}

/**
 * Return whether the scans of a JPEG give every coefficient to its last bit: of a file without an end marker.
 * @param {Uint8Array} bytes
 * @param {JpegHeader} header
 */
export function hasAllScans(bytes, header) {
  const missing = new Map(
    header.parts.map((part) => [part.id, new Set(ZIGZAG.subarray(0, 64).map((_, index) => index))]),
  );
  let at = header.scan;
  for (;;) {
    let length = (bytes[at] << 8) | bytes[at + 1];
    const count = bytes[at + 2];
    if (at + length > bytes.length || length !== 6 + 2 * count) return false;
    let [first, last, bits] = bytes.subarray(at + 3 + 2 * count, at + length);
    if (!header.progressive) [first, last, bits] = [0, 63, 0];
    for (let index = 0; index < count && !(bits & 15); index++) {
      const left = missing.get(bytes[at + 3 + 2 * index]);
      for (let place = first; left && place <= last; place++) left.delete(place);
    }
    for (;;) {
      at = nextInside(bytes, at + length);
      if (at < 0 || bytes[at] === 0xd9) return [...missing.values()].every((left) => !left.size);
      const isScan = bytes[at++] === 0xda;
      if (at + 3 > bytes.length) return false;
      if (isScan) break;
      length = (bytes[at] << 8) | bytes[at + 1];
    }
  }
}

/**
 * Return where the next marker inside of or after a scan is, over restarts and stuffed zeros; -1 without.
 * @param {Uint8Array} bytes
 * @param {number} at
 */
export function nextInside(bytes, at) {
  for (at = bytes.indexOf(0xff, at); at >= 0; at = bytes.indexOf(0xff, at)) {
    while (bytes[at] === 0xff) at++;
    const marker = bytes[at];
    if (marker !== undefined && marker !== 0 && marker !== 0xff && (marker < 0xd0 || marker > 0xd7)) return at;
  }
  return -1;
}
