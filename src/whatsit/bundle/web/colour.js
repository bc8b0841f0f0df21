// Colours of a camera's, a screen's or a press's colour profile to sRGB, as whatsit converts them (src/whatsit/images/colour.py):
// relative colorimetric with compensation of the black point, at the precision of LittleCMS, which does it there.

import { hasText } from "./bytes.js";
import { D50, Grid, Profile, lightnessOf, multiplied, tabulated, xyzOfLab } from "./icc.js";

const MOST_BYTES = 1 << 22;
const LEAST = 2; // of 255: what differs less is sRGB by another name
const SPACES = { RGB: "RGB ", L: "GRAY", CMYK: "CMYK" };
const ONE = 16384; // 14 bits after the point

/**
 * @typedef {(data: Uint8Array | Uint8ClampedArray) => Uint8Array} Transform pixels, RGB or CMYK, to sRGB
 */

/**
 * Return the transform to sRGB; null where the profile is damaged, of another kind of pictures, or changes nothing.
 * @param {Uint8Array} bytes
 * @param {'RGB' | 'L' | 'CMYK'} kind
 * @returns {Transform | null}
 */
export function transformOf(bytes, kind) {
  if (bytes.length <= 128 || bytes.length > MOST_BYTES || !hasText(bytes, "acsp", 36)) return null;
  if (!hasText(bytes, SPACES[kind], 16)) return null;
  if (last?.bytes.length !== bytes.length || !last.bytes.every((byte, at) => byte === bytes[at])) {
    last = { bytes: bytes.slice(), transform: made(bytes, kind) };
  }
  return last.transform;
}

/**
 * What was made last: pictures of a camera or a scanner have the same profile.
 * @type {{ bytes: Uint8Array, transform: Transform | null } | null}
 */
let last = null;

/**
 * @param {Uint8Array} bytes
 * @param {'RGB' | 'L' | 'CMYK'} kind
 */
function made(bytes, kind) {
  try {
    const profile = new Profile(bytes);
    if (kind === "CMYK") return ofPress(profile);
    const transform = kind === "L" ? ofGrey(profile) : ofColours(profile);
    return movesColours(transform, kind) ? transform : null;
  } catch {
    return null; // a damaged profile
  }
}

/**
 * @param {Transform} transform
 * @param {'RGB' | 'L'} kind
 */
function movesColours(transform, kind) {
  const levels = [0, 32, 64, 96, 128, 159, 191, 223, 255];
  const colours =
    kind === "L"
      ? Uint8Array.from({ length: 768 }, (_, at) => Math.floor(at / 3))
      : Uint8Array.from(
          levels.flatMap((red) => levels.flatMap((green) => levels.flatMap((blue) => [red, green, blue]))),
        );
  return transform(colours).some((level, at) => Math.abs(level - colours[at]) > LEAST);
}

/** The matrix from XYZ, relative to D50, to linear sRGB (IEC 61966-2-1; adapted by Bradford's method). */
const FROM_XYZ = (() => {
  const white = xyzOf(0.3127, 0.329);
  const primaries = [xyzOf(0.64, 0.33), xyzOf(0.3, 0.6), xyzOf(0.15, 0.06)];
  const columns = transposed(primaries.flat());
  const shares = multiplied(inverted(columns), white);
  const toXyz = columns.map((number, at) => number * shares[at % 3]);
  const bradford = [0.8951, 0.2664, -0.1614, -0.7502, 1.7135, 0.0367, 0.0389, -0.0685, 1.0296];
  const from = multiplied(bradford, white);
  const to = multiplied(bradford, D50);
  const scaled = bradford.map((number, at) => (number * to[Math.floor(at / 3)]) / from[Math.floor(at / 3)]);
  return inverted(product(product(inverted(bradford), scaled), toXyz));
})();

/**
 * @param {number} x
 * @param {number} y
 */
function xyzOf(x, y) {
  return [x / y, 1, (1 - x - y) / y];
}

/** @param {number[]} matrix */
function transposed(matrix) {
  return [0, 3, 6, 1, 4, 7, 2, 5, 8].map((at) => matrix[at]);
}

/**
 * @param {number[]} left
 * @param {number[]} right
 */
function product(left, right) {
  const columns = [0, 1, 2].map((column) => multiplied(left, [right[column], right[column + 3], right[column + 6]]));
  return transposed(columns.flat());
}

/** @param {number[]} matrix */
function inverted([a, b, c, d, e, f, g, h, i]) {
  const [x, y, z] = [e * i - f * h, f * g - d * i, d * h - e * g];
  const whole = a * x + b * y + c * z;
  if (Math.abs(whole) < 1e-4) throw new RangeError("a matrix that cannot be inverted");
  return [x, c * h - b * i, b * f - c * e, y, a * i - c * g, c * d - a * f, z, b * g - a * h, a * e - b * d].map(
    (number) => number / whole,
  );
}

/** @param {number} level linear */
function encoded(level) {
  const [a, b] = [1 / 1.055, 0.055 / 1.055];
  return level >= (a * 0.04045 + b) ** 2.4 ? (level ** (1 / 2.4) - b) / a : level * 12.92;
}

/** @param {number} level 0 to 1 */
function sixteen(level) {
  return Math.min(Math.max(Math.floor(level * 65535 + 0.5), 0), 65535);
}

/** @param {number} level of 16 bits */
function eight(level) {
  return Math.floor((level * 65281 + 8388608) / 16777216);
}

/**
 * Return the scale and offset of XYZ that make the darkest colour black.
 * @param {number} lightness of the darkest colour
 */
function blackened(lightness) {
  const black = xyzOfLab(Math.min(Math.max(lightness, 0), 50), 0, 0);
  return D50.map((white, index) => {
    const scale = -white / (black[index] - white);
    return { scale, offset: (white * black[index]) / (black[index] - white) };
  });
}

/**
 * Return a conversion from XYZ to sRGB, 16 bits.
 * @param {number} lightness of the darkest colour
 * @returns {import("./icc.js").Convert}
 */
function toSrgb(lightness) {
  const black = blackened(lightness);
  return (xyz) => {
    const darker = xyz.map((level, index) => level * black[index].scale + black[index].offset);
    return multiplied(FROM_XYZ, darker).map((level) => sixteen(encoded(level)));
  };
}

/**
 * @param {Profile} profile
 * @returns {Transform}
 */
function ofColours(profile) {
  const tag = ["A2B1", "A2B0"].find((each) => profile.tags.has(each));
  if (!tag) return ofPrimaries(profile);
  const table = profile.table(tag);
  const convert = toSrgb(lightnessOf(table([0, 0, 0])[1]));
  return byLittleTable((colour) => convert(table(colour)));
}

/**
 * Convert colours by a table of 33 points an axis, which LittleCMS lays along the curve of the greys.
 * @param {import("./icc.js").Convert} convert to 16 bits
 * @returns {Transform}
 */
function byLittleTable(convert) {
  const greys = Array.from({ length: 4096 }, (_, index) => convert([index / 4095, index / 4095, index / 4095]));
  const curves = [0, 1, 2].map((channel) => straightened(Float64Array.from(greys, (grey) => grey[channel] / 65535)));
  const isSuitable = curves.every((curve) => curve.every((level, index) => index === 0 || level >= curve[index - 1]));
  if (!isSuitable) {
    const grid = sampled([33, 33, 33], convert);
    grid.values.fill(65535, grid.values.length - 3); // white stays white
    return eachColour(3, (colour) => grid.at(colour));
  }
  const forth = curves.map(tabulated);
  const back = curves.map((curve) => tabulated(reversed(curve)));
  const grid = sampled([33, 33, 33], (colour) => convert(colour.map((level, channel) => back[channel](level))));
  grid.values.fill(65535, grid.values.length - 3);
  return eachColour(3, (colour) => grid.at(colour.map((level, channel) => forth[channel](level))));
}

/**
 * Make the darkest and the lightest 2 % of a curve straight lines to 0 and 1.
 * @param {Float64Array} curve
 */
function straightened(curve) {
  const count = Math.floor(curve.length * 0.02 + 0.5);
  const end = curve.length - count - 1;
  const rounded = (/** @type {number} */ level) => sixteen(level) / 65535;
  const [low, high] = [curve[count] / count, (1 - curve[end]) / count];
  return curve.map((level, index) =>
    index < count ? rounded(index * low) : index >= end ? rounded(curve[end] + (index - end) * high) : level,
  );
}

/** @param {Float64Array} curve which rises */
function reversed(curve) {
  const last = curve.length - 1;
  let low = last - 1;
  const result = new Float64Array(curve.length);
  for (let index = last; index >= 0; index--) {
    const level = index / last;
    while (low > 0 && curve[low] > level) low--;
    const rise = curve[low + 1] - curve[low];
    const place = rise < 0.01 / 65535 ? low + 1 : low + (level - curve[low]) / rise;
    result[index] = sixteen(place / last) / 65535;
  }
  return result;
}

/**
 * Colours by three primaries: curves, a matrix, curves, in whole numbers.
 * @param {Profile} profile
 * @returns {Transform}
 */
function ofPrimaries(profile) {
  const columns = transposed(["rXYZ", "gXYZ", "bXYZ"].flatMap((tag) => profile.xyz(tag)));
  const curves = ["rTRC", "gTRC", "bTRC"].map((tag) => profile.curve(tag));
  const darkest = multiplied(
    columns,
    curves.map((curve) => curve(0)),
  );
  if (darkest[1] > 1e-7) {
    const convert = toSrgb(lightnessOf(darkest[1]));
    return byLittleTable((colour) =>
      convert(
        multiplied(
          columns,
          colour.map((level, index) => curves[index](level)),
        ),
      ),
    );
  }
  const matrix = product(FROM_XYZ, columns).map((number) => Math.floor(number * ONE + 0.5));
  const linear = curves.map((curve) =>
    Int32Array.from({ length: 256 }, (_, level) => Math.floor(curve(level / 255) * ONE + 0.5)),
  );
  const levels = Uint8Array.from({ length: ONE + 1 }, (_, level) => eight(sixteen(encoded(level / ONE))));
  return (data) => {
    const result = new Uint8Array(data.length);
    for (let at = 0; at < data.length; at += 3) {
      const [red, green, blue] = [linear[0][data[at]], linear[1][data[at + 1]], linear[2][data[at + 2]]];
      for (let row = 0; row < 3; row++) {
        const sum = matrix[3 * row] * red + matrix[3 * row + 1] * green + matrix[3 * row + 2] * blue;
        const level = (sum + ONE / 2) >> 14;
        result[at + row] = levels[Math.min(Math.max(level, 0), ONE)];
      }
    }
    return result;
  };
}

/**
 * @param {Profile} profile
 * @returns {Transform}
 */
function ofGrey(profile) {
  const tag = ["A2B1", "A2B0"].find((each) => profile.tags.has(each));
  const curve = tag ? null : profile.curve("kTRC");
  const table = tag ? profile.table(tag) : null;
  const convertGrey = (/** @type {number} */ level) => {
    if (table) return table([level]);
    const found = /** @type {import("./icc.js").Curve} */ (curve)(level);
    return profile.isLab ? xyzOfLab(found * 100, 0, 0) : D50.map((white) => white * found);
  };
  const convert = toSrgb(lightnessOf(convertGrey(0)[1]));
  const grid = sampled([33], ([level]) => convert(convertGrey(level)));
  grid.values.fill(65535, 32 * 3); // white stays white
  const levels = Uint8Array.from({ length: 256 }, (_, level) => level).reduce((all, level) => {
    all.set(
      grid.at([level / 255]).map((each) => eight(Math.round(each))),
      level * 3,
    );
    return all;
  }, new Uint8Array(768));
  return (data) => Uint8Array.from(data, (level, at) => levels[level * 3 + (at % 3)]);
}

/**
 * Colours of inks: by a table of 17 points for each, as LittleCMS makes it.
 * @param {Profile} profile
 * @returns {Transform}
 */
function ofPress(profile) {
  const table = profile.table(profile.tags.has("A2B1") ? "A2B1" : "A2B0");
  // A press's black is what it prints where black is asked for; that of others, all inks together.
  const darkest = profile.isPress ? pressBlack(profile) : [1, 1, 1, 1];
  const convert = toSrgb(darkest ? lightnessOf(table(darkest)[1]) : 0);
  const grid = sampled([17, 17, 17, 17], (inks) => convert(table(inks)));
  grid.values.fill(65535, 0, 3); // paper is white
  return eachColour(4, (inks) => grid.at(inks));
}

/** What the black of perceptual tables is, of profiles of version 4 (ICC.1, annex on the perceptual reference medium). */
const PERCEPTUAL_BLACK = [0.00336, 0.0034731, 0.00287];

/**
 * Return the inks of black, null where none are known.
 * @param {Profile} profile
 */
function pressBlack(profile) {
  if (!profile.tags.has("B2A0") || !/^(mft[12]|mBA )$/.test(profile.word(profile.place("B2A0")))) return null;
  const black = profile.version >= 4 ? PERCEPTUAL_BLACK : [0, 0, 0];
  if (!profile.isLab) return profile.table("B2A0")(black.map((level) => level / (1 + 32767 / 32768)));
  const isOld = profile.word(profile.place("B2A0")) === "mft2"; // with its own way of writing Lab
  const neutral = isOld ? 32768 / 65535 : 128 / 255;
  return profile.table("B2A0")([(lightnessOf(black[1]) / 100) * (isOld ? 65280 / 65535 : 1), neutral, neutral]);
}

/**
 * @param {number[]} points
 * @param {import("./icc.js").Convert} convert
 */
function sampled(points, convert) {
  const count = points.reduce((all, each) => all * each, 1);
  const values = new Float64Array(count * 3);
  for (let index = 0; index < count; index++) {
    const colour = Array(points.length);
    for (let axis = points.length - 1, rest = index; axis >= 0; axis--) {
      colour[axis] = sixteen((rest % points[axis]) / (points[axis] - 1)) / 65535;
      rest = Math.floor(rest / points[axis]);
    }
    values.set(convert(colour), index * 3);
  }
  return new Grid(points, 3, values);
}

/**
 * @param {number} channels
 * @param {import("./icc.js").Convert} convert to 16 bits
 * @returns {Transform}
 */
function eachColour(channels, convert) {
  return (data) => {
    const result = new Uint8Array((data.length / channels) * 3);
    for (let at = 0, to = 0; to < result.length; at += channels, to += 3) {
      const colour = Array.from(data.subarray(at, at + channels), (level) => level / 255);
      const found = convert(colour);
      for (let channel = 0; channel < 3; channel++) result[to + channel] = eight(Math.round(found[channel]));
    }
    return result;
  };
}
