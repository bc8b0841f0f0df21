// What a file is, by its first bytes; and what the browser's own decoders need to be told or asked of.

import { hasText } from "./bytes.js";
import { PictureError, damaged, requireFewPixels } from "./errors.js";

// What some browsers read.
const SOME = [
  ["image/tiff", "II*\0"],
  ["image/tiff", "MM\0*"],
  ["image/jp2", "\0\0\0\x0cjP  "],
];

const OUTSIDE = [
  ["a PDF document", 0, "%PDF"],
  ["a PostScript drawing", 0, "%!PS"],
  ["a Photoshop file (PSD)", 0, "8BPS"],
  ["a GIMP file (XCF)", 0, "gimp xcf"],
  ["a DICOM file", 128, "DICM"],
  ["a camera's raw file", 0, "FUJIFILMCCD-RAW"],
  ["a JPEG XL picture", 0, "\xff\x0a"],
  ["a JPEG XL picture", 0, "\0\0\0\x0cJXL "],
  ["a video", 0, "\x1aE\xdf\xa3"],
  ["a video", 8, "AVI "],
  ["a zip archive or an office document", 0, "PK\x03\x04"],
];

/**
 * What is known of a file that the browser decodes.
 * @typedef {object} Known
 * @property {string} type as browsers call it
 * @property {Uint8Array} bytes the file, without what would change how the browser shows it where that can be left out
 * @property {Uint8Array | null} exif
 * @property {Uint8Array | null} xmp
 * @property {Uint8Array | null} profile
 */

/**
 * Return what is known of a file that only the browser may be able to decode. Raises `PictureError`.
 * @param {Uint8Array} bytes
 * @returns {Known}
 */
export function forBrowser(bytes) {
  const none = { exif: null, xmp: null, profile: null };
  if (hasText(bytes, "RIFF") && hasText(bytes, "WEBP", 8)) return { type: "image/webp", ...partsOfWebp(bytes) };
  if (hasText(bytes, "ftyp", 4)) return { type: boxType(bytes), bytes, ...none, ...partsOfBoxes(bytes) };
  const some = SOME.find(([, start]) => hasText(bytes, start));
  if (some) return { type: some[0], bytes, ...none };
  for (const [what, at, start] of OUTSIDE) {
    if (hasText(bytes, /** @type {string} */ (start), Number(at))) {
      throw new PictureError("format", `this is ${what}, which is not read here; save the picture as JPEG or PNG`);
    }
  }
  throw new PictureError(
    "format",
    "the file is not a picture in a format that is read here, such as JPEG, PNG or WebP",
  );
}

/**
 * Take the EXIF, XMP and colour profile out of a WebP (RFC 9649), so that no browser turns it or changes its colours.
 * @param {Uint8Array} bytes
 */
function partsOfWebp(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 30) throw damaged("its header is incomplete");
  const none = { bytes, exif: null, xmp: null, profile: null };
  if (hasText(bytes, "VP8 ", 12)) return none;
  if (hasText(bytes, "VP8L", 12)) {
    const bits = view.getUint32(21, true);
    requireFewPixels(1 + (bits & 0x3fff), 1 + ((bits >> 14) & 0x3fff));
    return none;
  }
  if (!hasText(bytes, "VP8X", 12)) throw damaged("its first part is of an unknown kind");
  const three = (/** @type {number} */ at) => bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16);
  requireFewPixels(1 + three(24), 1 + three(27));
  const found = /** @type {Record<string, Uint8Array>} */ ({});
  const kept = bytes.slice();
  kept[20] &= ~0x2c; // that there are such parts
  let end = 12;
  for (let at = 12; at + 8 <= bytes.length;) {
    const length = view.getUint32(at + 4, true);
    const kind = String.fromCharCode(...bytes.subarray(at, at + 4));
    const next = Math.min(at + 8 + length + (length & 1), bytes.length);
    if (kind === "EXIF" || kind === "XMP " || kind === "ICCP") {
      if (at + 8 + length <= bytes.length) found[kind] ||= bytes.subarray(at + 8, at + 8 + length);
    } else {
      kept.set(bytes.subarray(at === 12 ? 30 : at, next), at === 12 ? 30 : end);
      end += next - at;
    }
    at = next;
  }
  new DataView(kept.buffer).setUint32(4, end - 8, true);
  const { EXIF: exif = null, "XMP ": xmp = null, ICCP: profile = null } = found;
  return { bytes: kept.subarray(0, end), exif, xmp, profile };
}

/** @param {Uint8Array} bytes */
function boxType(bytes) {
  const end = Math.min(bytes[3] | (bytes[2] << 8), 128, bytes.length);
  const brands = new TextDecoder("latin1").decode(bytes.subarray(8, end));
  if (/avi[fs]/.test(brands)) return "image/avif";
  if (/hei[cxms]|hev[cx]|mif1|msf1/.test(brands)) return "image/heic";
  throw new PictureError("format", "this is a video, which is not read; take a picture out of it");
}

/**
 * Find the colour profile of an AVIF or HEIC, and check the sizes of its pictures (ISO/IEC 23008-12). How it is turned,
 * the browser knows.
 * @param {Uint8Array} bytes
 */
function partsOfBoxes(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** @type {Uint8Array | null} */
  let profile = null;
  const walk = (/** @type {number} */ at, /** @type {number} */ end) => {
    while (at + 8 <= end) {
      const length = view.getUint32(at) || end - at;
      const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
      const stop = at + length;
      if (length < 8 || stop > end) return;
      if (kind === "meta") walk(at + 12, stop);
      else if (kind === "iprp" || kind === "ipco") walk(at + 8, stop);
      else if (kind === "ispe" && length >= 20) requireFewPixels(view.getUint32(at + 12), view.getUint32(at + 16));
      else if (kind === "colr" && hasText(bytes, "prof", at + 8)) profile ||= bytes.subarray(at + 12, stop);
      at = stop;
    }
  };
  walk(0, bytes.length);
  return { profile };
}
