// How a picture is turned, by its EXIF or XMP (CIPA DC-008, tag 0x0112).

const TAG = 0x0112;
const SIZES = { 3: 2, 4: 4, 8: 2, 9: 4 }; // types of whole numbers: short, long, and with a sign

/**
 * Return the orientation, 1 to 8; 1 where nothing, or nothing that can be read, says another.
 * @param {Uint8Array | null} exif a TIFF with its directory, perhaps after the letters "Exif"
 * @param {Uint8Array | null} xmp
 */
export function orientationOf(exif, xmp) {
  let said = 0;
  try {
    said = exif ? inDirectory(exif) : 0;
  } catch {
    return 1; // malformed
  }
  if (!said && xmp) {
    const found = /tiff:Orientation(="|>)([0-9])/.exec(new TextDecoder("latin1").decode(xmp));
    if (found) said = Number(found[2]);
  }
  return said >= 1 && said <= 8 ? said : 1;
}

/**
 * Return the number in the first directory, 0 where there is none.
 * @param {Uint8Array} exif
 */
function inDirectory(exif) {
  let at = 0;
  while (String.fromCharCode(...exif.subarray(at, at + 6)) === "Exif\0\0") at += 6;
  if (at === exif.length) return 0;
  const view = new DataView(exif.buffer, exif.byteOffset + at, exif.byteLength - at);
  const order = view.getUint16(0);
  const little = order === 0x4949;
  if ((!little && order !== 0x4d4d) || view.getUint16(2, little) !== 42) throw new RangeError("no directory");
  const start = view.getUint32(4, little);
  let said = 0;
  for (let left = view.getUint16(start, little), place = start + 2; left > 0; left--, place += 12) {
    if (place + 12 > view.byteLength) break;
    if (view.getUint16(place, little) !== TAG) continue;
    const kind = view.getUint16(place + 2, little);
    const size = SIZES[/** @type {keyof typeof SIZES} */ (kind)];
    if (view.getUint32(place + 4, little) < 1) continue;
    said = !size ? -1 : size === 2 ? view.getUint16(place + 8, little) : view.getUint32(place + 8, little);
  }
  return said;
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
