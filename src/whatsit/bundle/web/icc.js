// What a colour profile holds (ICC.1:2022): curves, matrices and tables, as functions from colours to colours.
//
// Colours are arrays of numbers, 0 to 1 for a device; a profile's result is XYZ relative to D50.

export const D50 = [0.9642, 1, 0.8249];

/**
 * @typedef {(colour: number[]) => number[]} Convert
 * @typedef {(level: number) => number} Curve
 */

const DEVICES = ["scnr", "mntr", "prtr", "spac", "\0\0\0\0"];

/** A profile's tags. */
export class Profile {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.version = bytes[8];
    if (this.version > 5) throw new RangeError("an unknown version");
    this.isLab = this.word(20) === "Lab ";
    this.isPress = this.word(12) === "prtr";
    if (!this.isLab && this.word(20) !== "XYZ ") throw new RangeError("an unknown connection space");
    if (!DEVICES.includes(this.word(12))) throw new RangeError("no profile of a device");
    /** @type {Map<string, number>} */
    this.tags = new Map();
    const count = this.view.getUint32(128);
    const end = Math.min(this.view.getUint32(0), bytes.length);
    if (count > 100) throw new RangeError("too many tags");
    for (let at = 132; at < 132 + 12 * count; at += 12) {
      const start = this.view.getUint32(at + 4);
      if (this.tags.has(this.word(at))) throw new RangeError("a tag is there twice");
      if (start + this.view.getUint32(at + 8) <= end) this.tags.set(this.word(at), start);
    }
  }

  /** @param {number} at */
  word(at) {
    return String.fromCharCode(...this.bytes.subarray(at, at + 4));
  }

  /** @param {number} at of a number with 16 bits after the point */
  fixed(at) {
    return this.view.getInt32(at) / 65536;
  }

  /** @param {string} tag */
  place(tag) {
    const at = this.tags.get(tag);
    if (at === undefined) throw new RangeError(`no tag ${tag}`);
    return at;
  }

  /** @param {string} tag */
  xyz(tag) {
    const at = this.place(tag) + 8;
    return [this.fixed(at), this.fixed(at + 4), this.fixed(at + 8)];
  }

  /** @param {string} tag */
  curve(tag) {
    return this.curveAt(this.place(tag)).curve;
  }

  /**
   * @param {number} at
   * @returns {{ curve: Curve, end: number }}
   */
  curveAt(at) {
    const { view } = this;
    if (this.word(at) === "para") {
      const kind = view.getUint16(at + 8);
      const count = [1, 3, 4, 5, 7][kind];
      if (!count) throw new RangeError("an unknown curve");
      const numbers = Array.from({ length: count }, (_, index) => this.fixed(at + 12 + 4 * index));
      return { curve: parametric(kind, numbers), end: at + 12 + 4 * count };
    }
    if (this.word(at) !== "curv") throw new RangeError("an unknown curve");
    const count = view.getUint32(at + 8);
    const end = at + 12 + 2 * count;
    if (count === 0) return { curve: (level) => level, end };
    if (count === 1) return { curve: parametric(0, [view.getUint16(at + 12) / 256]), end };
    return { curve: tabulated(this.numbers(at + 12, count, 2)), end };
  }

  /**
   * @param {number} at
   * @param {number} count
   * @param {number} size bytes each, 1 or 2
   */
  numbers(at, count, size) {
    if (at + count * size > this.bytes.length) throw new RangeError("a table is cut off");
    return Float64Array.from({ length: count }, (_, index) =>
      size === 1 ? this.bytes[at + index] / 255 : this.view.getUint16(at + 2 * index) / 65535,
    );
  }

  /**
   * Return a table of a profile: from its device to XYZ, or back.
   * @param {string} tag
   * @returns {Convert}
   */
  table(tag) {
    const at = this.place(tag);
    const kind = this.word(at);
    if (kind === "mft1" || kind === "mft2") return this.oldTable(at, kind === "mft1" ? 1 : 2);
    if (kind === "mAB " || kind === "mBA ") return this.newTable(at, kind === "mBA ");
    throw new RangeError("an unknown table");
  }

  /**
   * @param {number} at
   * @param {number} size
   * @returns {Convert}
   */
  oldTable(at, size) {
    const [ins, outs, points] = this.bytes.subarray(at + 8, at + 11);
    const first = size === 1 ? 256 : this.view.getUint16(at + 48);
    const last = size === 1 ? 256 : this.view.getUint16(at + 50);
    let place = at + (size === 1 ? 48 : 52);
    const curves = (/** @type {number} */ count, /** @type {number} */ length) =>
      Array.from({ length: count }, () => {
        const curve = tabulated(this.numbers(place, length, size));
        place += length * size;
        return curve;
      });
    const before = curves(ins, first);
    const grid = new Grid(Array(ins).fill(points), outs, this.numbers(place, points ** ins * outs, size));
    place += points ** ins * outs * size;
    const after = curves(outs, last);
    const scale = size === 2 ? 65535 / 65280 : 1; // how white is written in tables of 16 bits, of Lab
    const isLab = this.isLab;
    return (colour) => {
      const found = grid
        .at(before.map((curve, index) => curve(colour[index])))
        .map((level, index) => after[index](level));
      return outs === 3 ? toXyz(found, isLab, isLab ? scale : 1) : found;
    };
  }

  /**
   * @param {number} at
   * @param {boolean} isBack from XYZ or Lab to a device
   * @returns {Convert}
   */
  newTable(at, isBack) {
    const [ins, outs] = this.bytes.subarray(at + 8, at + 10);
    const [bAt, matrixAt, mAt, gridAt, aAt] = [12, 16, 20, 24, 28].map((offset) => this.view.getUint32(at + offset));
    const [device, connected] = isBack ? [outs, ins] : [ins, outs];
    /** @type {Convert[]} */
    const steps = [];
    if (aAt) steps.push(this.curvesAt(at + aAt, device));
    if (gridAt) steps.push(this.gridAt(at + gridAt, ins, outs));
    if (mAt) steps.push(this.curvesAt(at + mAt, connected));
    if (matrixAt) steps.push(this.matrixAt(at + matrixAt));
    if (bAt) steps.push(this.curvesAt(at + bAt, connected));
    if (isBack) steps.reverse();
    const isLab = this.isLab;
    return (colour) => {
      const found = steps.reduce((passed, step) => step(passed), colour);
      return isBack ? found : toXyz(found, isLab, 1);
    };
  }

  /**
   * @param {number} at
   * @param {number} count
   * @returns {Convert}
   */
  curvesAt(at, count) {
    const curves = Array.from({ length: count }, () => {
      const { curve, end } = this.curveAt(at);
      at = (end + 3) & ~3;
      return curve;
    });
    return (colour) => colour.map((level, index) => curves[index](level));
  }

  /**
   * @param {number} at
   * @param {number} ins
   * @param {number} outs
   * @returns {Convert}
   */
  gridAt(at, ins, outs) {
    const points = [...this.bytes.subarray(at, at + ins)];
    const count = points.reduce((product, each) => product * each, outs);
    const grid = new Grid(points, outs, this.numbers(at + 20, count, this.bytes[at + 16]));
    return (colour) => grid.at(colour);
  }

  /**
   * @param {number} at
   * @returns {Convert}
   */
  matrixAt(at) {
    const numbers = Array.from({ length: 12 }, (_, index) => this.fixed(at + 4 * index));
    return (colour) => multiplied(numbers, colour).map((sum, index) => sum + numbers[9 + index]);
  }
}

/**
 * @param {number} kind
 * @param {number[]} numbers
 * @returns {Curve}
 */
function parametric(kind, [g, a = 1, b = 0, c = 0, d = 0, e = 0, f = 0]) {
  const power = (/** @type {number} */ level) => (a * level + b > 0 ? (a * level + b) ** g : 0);
  if (kind === 0) return (level) => (level < 0 ? 0 : level ** g);
  if (kind === 1) return (level) => (level >= -b / a ? power(level) : 0);
  if (kind === 2) return (level) => (level >= -b / a ? power(level) : 0) + c;
  if (kind === 3) return (level) => (level >= d ? power(level) : c * level);
  return (level) => (level >= d ? power(level) + e : c * level + f);
}

/**
 * @param {Float64Array} table of 0 to 1
 * @returns {Curve}
 */
export function tabulated(table) {
  const last = table.length - 1;
  return (level) => {
    const place = Math.min(Math.max(level, 0), 1) * last;
    const low = Math.floor(place);
    const found = table[low] + (table[Math.min(low + 1, last)] - table[low]) * (place - low);
    return Math.round(found * 65535) / 65535;
  };
}

/** A table of colours by colours, between whose points is interpolated, in tetrahedra over its last three axes. */
export class Grid {
  /**
   * @param {number[]} points of each axis
   * @param {number} outs
   * @param {Float64Array} values
   */
  constructor(points, outs, values) {
    if (points.some((count) => count < 1) || points.length < 1 || points.length > 4 || outs < 1) {
      throw new RangeError("an unknown table");
    }
    this.points = points;
    this.outs = outs;
    this.values = values;
    this.steps = points.map((_, axis) => points.slice(axis + 1).reduce((product, each) => product * each, outs));
  }

  /**
   * @param {number[]} colour
   * @returns {number[]}
   */
  at(colour) {
    return this.within(colour, 0, 0);
  }

  /**
   * @param {number[]} colour
   * @param {number} axis
   * @param {number} start
   * @returns {number[]}
   */
  within(colour, axis, start) {
    const { points, steps, values, outs } = this;
    const left = points.length - axis;
    const place = Math.min(Math.max(colour[axis], 0), 1) * (points[axis] - 1);
    const low = Math.min(Math.floor(place), Math.max(points[axis] - 2, 0));
    const part = place - low;
    if (left !== 3) {
      const near = left === 1 ? null : this.within(colour, axis + 1, start + low * steps[axis]);
      if (part === 0 && near) return near;
      const far = left === 1 ? null : this.within(colour, axis + 1, start + (low + 1) * steps[axis]);
      const result = Array(outs);
      for (let out = 0; out < outs; out++) {
        const from = near ? near[out] : values[start + low * steps[axis] + out];
        const to = far ? far[out] : part ? values[start + (low + 1) * steps[axis] + out] : from;
        result[out] = from + (to - from) * part;
      }
      return result;
    }
    return this.tetrahedral(colour, axis, start);
  }

  /**
   * @param {number[]} colour
   * @param {number} axis
   * @param {number} start
   */
  tetrahedral(colour, axis, start) {
    const { points, steps, values, outs } = this;
    let place = start;
    const parts = [0, 0, 0];
    const ways = [0, 0, 0];
    for (let offset = 0; offset < 3; offset++) {
      const count = points[axis + offset];
      const whole = Math.min(Math.max(colour[axis + offset], 0), 1) * (count - 1);
      const low = Math.min(Math.floor(whole), Math.max(count - 2, 0));
      place += low * steps[axis + offset];
      // From corner to corner, along the longest way first.
      let rank = offset;
      for (; rank > 0 && parts[rank - 1] < whole - low; rank--) {
        parts[rank] = parts[rank - 1];
        ways[rank] = ways[rank - 1];
      }
      parts[rank] = whole - low;
      ways[rank] = count > 1 ? steps[axis + offset] : 0;
    }
    const result = Array(outs);
    for (let out = 0; out < outs; out++) {
      let at = place + out;
      let value = values[at];
      for (let rank = 0; rank < 3; rank++) {
        value += (values[at + ways[rank]] - values[at]) * parts[rank];
        at += ways[rank];
      }
      result[out] = value;
    }
    return result;
  }
}

/**
 * @param {number[]} matrix row by row
 * @param {number[]} colour
 */
export function multiplied(matrix, colour) {
  return [0, 3, 6].map((row) => matrix[row] * colour[0] + matrix[row + 1] * colour[1] + matrix[row + 2] * colour[2]);
}

/**
 * @param {number[]} found as a table has it
 * @param {boolean} isLab
 * @param {number} scale
 */
function toXyz(found, isLab, scale) {
  if (!isLab) return found.map((level) => level * (1 + 32767 / 32768));
  return xyzOfLab(found[0] * scale * 100, found[1] * scale * 255 - 128, found[2] * scale * 255 - 128);
}

/**
 * @param {number} lightness
 * @param {number} a
 * @param {number} b
 */
export function xyzOfLab(lightness, a, b) {
  const y = (lightness + 16) / 116;
  const cubed = (/** @type {number} */ level) => (level <= 24 / 116 ? (108 / 841) * (level - 16 / 116) : level ** 3);
  return [D50[0] * cubed(y + a / 500), D50[1] * cubed(y), D50[2] * cubed(y - b / 200)];
}

/** @param {number} y luminance relative to white */
export function lightnessOf(y) {
  return 116 * (y <= (24 / 116) ** 3 ? (841 / 108) * y + 16 / 116 : Math.cbrt(y)) - 16;
}
