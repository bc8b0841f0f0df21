// How a picture is turned, by its EXIF or XMP (CIPA DC-008, tag 0x0112).

import { hasText } from "./bytes.js";

const TAG = 0x0112;
const MARKS = ["II*\0", "MM\0*", "II\0*", "MM*\0"];

/**
 * The types of a tag's values: their bytes, and how the first is read; those without are texts.
 * @type {Record<number, { size: number, read?: (view: DataView, at: number, little: boolean) => number }>}
 */
const TYPES = {
  1: { size: 1 },
  2: { size: 1 },
  3: { size: 2, read: (view, at, little) => view.getUint16(at, little) },
  4: { size: 4, read: (view, at, little) => view.getUint32(at, little) },
  5: { size: 8, read: (view, at, little) => view.getUint32(at, little) / view.getUint32(at + 4, little) },
  6: { size: 1, read: (view, at) => view.getInt8(at) },
  7: { size: 1 },
  8: { size: 2, read: (view, at, little) => view.getInt16(at, little) },
  9: { size: 4, read: (view, at, little) => view.getInt32(at, little) },
  10: { size: 8, read: (view, at, little) => view.getInt32(at, little) / view.getInt32(at + 4, little) },
  11: { size: 4, read: (view, at, little) => view.getFloat32(at, little) },
  12: { size: 8, read: (view, at, little) => view.getFloat64(at, little) },
  13: { size: 4, read: (view, at, little) => view.getUint32(at, little) },
  16: { size: 8, read: (view, at, little) => Number(view.getBigUint64(at, little)) },
};

/**
 * Return the orientation, 1 to 8; 1 where nothing, or nothing that can be read, says another.
 * @param {Uint8Array | null} exif a TIFF with its directory, perhaps after the letters "Exif"
 * @param {Uint8Array | null} xmp
 */
export function orientationOf(exif, xmp) {
  /** @type {number | null} */
  let said = null;
  try {
    said = exif ? inDirectory(exif) : null;
  } catch {
    return 1; // malformed
  }
  if (said === null && xmp) {
    const found = /tiff:Orientation(="|>)([0-9])/.exec(new TextDecoder("latin1").decode(xmp));
    if (found) said = Number(found[2]);
  }
  return said !== null && said >= 1 && said <= 8 ? said : 1;
}

/**
 * Return the number in the first directory as Pillow reads it, null where there is none. Raises `RangeError`.
 * @param {Uint8Array} exif
 */
function inDirectory(exif) {
  let start = 0;
  while (hasText(exif, "Exif\0\0", start)) start += 6;
  if (start === exif.length) return null;
  const view = new DataView(exif.buffer, exif.byteOffset + start, exif.byteLength - start);
  if (!MARKS.some((mark) => hasText(exif, mark, start))) throw new RangeError("no directory");
  const little = exif[start] === 0x49;
  /** @type {number | null} */
  let said = null;
  let at = view.getUint32(4, little);
  if (at + 2 > view.byteLength) return null;
  let left = view.getUint16(at, little);
  for (at += 2; left > 0 && at + 12 <= view.byteLength; left--, at += 12) {
    const type = TYPES[view.getUint16(at + 2, little)];
    const size = type ? type.size * view.getUint32(at + 4, little) : 0;
    if (!size) continue;
    const place = size > 4 ? view.getUint32(at + 8, little) : at + 8;
    if (place + size > view.byteLength) break;
    if (view.getUint16(at, little) !== TAG) continue;
    const text = exif.subarray(start + place, start + place + size);
    said = type.read ? Math.trunc(type.read(view, place, little)) : inText(text, view.getUint16(at + 2, little) === 2);
  }
  return said;
}

/**
 * Return the number that is written in a text, 0 where it is another text.
 * @param {Uint8Array} text
 * @param {boolean} mayEndInZero
 */
function inText(text, mayEndInZero) {
  const written = new TextDecoder("latin1").decode(text);
  const digits = mayEndInZero ? written.replace(/\0$/, "") : written;
  return /^\s*[+]?[0-9]+\s*$/.test(digits) ? Number(digits) : 0;
}

/**
 * Return whether a picture of this orientation lies on its side.
 * @param {number} orientation
 */
export function isOnItsSide(orientation) {
  return orientation >= 5;
}

/**
 * Turn pixels upright.
 * @param {Uint8Array | Uint8ClampedArray} data RGB, `height * width * 3`
 * @param {number} width before
 * @param {number} height before
 * @param {number} orientation 1 to 8
 * @returns {Uint8Array}
 */
export function upright(data, width, height, orientation) {
  const result = new Uint8Array(data.length);
  const onItsSide = isOnItsSide(orientation);
  const mirrored = [2, 3, 7, 8].includes(orientation);
  const upsideDown = [3, 4, 6, 7].includes(orientation);
  // Where the result's first pixel comes from, and how far its next column and row are.
  const [column, row] = onItsSide ? [width * 3, 3] : [3, width * 3];
  const start = startOf(width, height, orientation);
  const right = (onItsSide ? upsideDown : mirrored) ? -column : column;
  const down = (onItsSide ? mirrored : upsideDown) ? -row : row;
  const [wide, high] = onItsSide ? [height, width] : [width, height];
  for (let y = 0, to = 0; y < high; y++) {
    for (let x = 0, from = start + y * down; x < wide; x++, from += right, to += 3) {
      result[to] = data[from];
      result[to + 1] = data[from + 1];
      result[to + 2] = data[from + 2];
    }
  }
  return result;
}

/**
 * @param {number} width
 * @param {number} height
 * @param {number} orientation
 */
function startOf(width, height, orientation) {
  const isAtRight = [2, 3, 7, 8].includes(orientation);
  const isAtBottom = [3, 4, 6, 7].includes(orientation);
  return ((isAtBottom ? height - 1 : 0) * width + (isAtRight ? width - 1 : 0)) * 3;
}
