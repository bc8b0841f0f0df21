// Stretching to the model's size, in whole numbers, to the bit as whatsit does it (src/whatsit/images/resize.py).
//
// A pixel of the result lies `have / want` pixels apart from the next. Its weights are a triangle that reaches as far to
// either side, but at least a pixel; they are divided by their sum, multiplied by a power of two and rounded.

export const NEWEST = "stretch-bilinear15-antialias-srgb";
export const RULES = ["stretch-bilinear-antialias", "stretch-bilinear-antialias-srgb", NEWEST];

/**
 * The weights of an axis.
 * @typedef {{ starts: Int32Array, counts: Int32Array, weights: Int32Array, reach: number, bits: number }} Axis
 */

/**
 * @param {number} have
 * @param {number} want
 * @param {boolean} newest 15 bits a weight, else Pillow's 22 bits after the point
 * @returns {Axis}
 */
export function weigh(have, want, newest) {
  const scale = have / want;
  const support = Math.max(scale, 1);
  const reach = 2 * Math.ceil(support) + 1;
  const starts = new Int32Array(want);
  const counts = new Int32Array(want);
  const raw = new Float64Array(want * reach);
  let most = 0;
  for (let place = 0; place < want; place++) {
    const centre = (place + 0.5) * scale;
    const low = newest ? Math.floor(centre - support) : Math.trunc(centre - support + 0.5);
    const high = newest ? Math.ceil(centre + support) : Math.trunc(centre + support + 0.5);
    const start = Math.max(0, low);
    const count = Math.min(have, high) - start;
    let sum = 0;
    for (let index = 0; index < count; index++) {
      const from = newest ? start + index - (centre - 0.5) : start + index - centre + 0.5;
      const weight = Math.max(0, 1 - Math.abs(from * (1 / support)));
      raw[place * reach + index] = weight;
      sum += weight;
    }
    for (let index = 0; index < count; index++) {
      const weight = newest ? raw[place * reach + index] / sum : raw[place * reach + index] * (1 / sum);
      raw[place * reach + index] = weight;
      most = Math.max(most, weight);
    }
    starts[place] = start;
    counts[place] = count;
  }
  let bits = 22;
  if (newest) {
    bits = 0;
    while (bits < 21 && Math.floor(most * 2 ** (bits + 1) + 0.5) < 1 << 15) bits++;
  }
  return {
    starts,
    counts,
    weights: Int32Array.from(raw, (weight) => Math.floor(weight * 2 ** bits + 0.5)),
    reach,
    bits,
  };
}

/**
 * Stretch a picture.
 * @template {{ width: number, height: number, channels: number, data: Uint8Array | Uint8ClampedArray }} T
 * @param {T} picture
 * @param {number} width
 * @param {number} height
 * @param {string} rule one of `RULES`
 * @returns {T}
 */
export function stretch(picture, width, height, rule) {
  const newest = rule === NEWEST;
  const growsOnTheWay = height > picture.height && width < picture.width;
  const rowsFirst = newest && !growsOnTheWay;
  const steps = rowsFirst ? [stretchRows, stretchColumns] : [stretchColumns, stretchRows];
  let { data, width: wide, height: high } = picture;
  for (const step of steps) {
    data = step(data, wide, high, picture.channels, step === stretchRows ? height : width, newest);
    if (step === stretchRows) high = height;
    else wide = width;
  }
  return { ...picture, width, height, data };
}

/**
 * Change the height.
 * @param {Uint8Array | Uint8ClampedArray} data
 * @param {number} width
 * @param {number} height
 * @param {number} channels
 * @param {number} want
 * @param {boolean} newest
 */
function stretchRows(data, width, height, channels, want, newest) {
  if (height === want) return data;
  const { starts, counts, weights, reach, bits } = weigh(height, want, newest);
  const line = width * channels;
  const result = new Uint8ClampedArray(want * line);
  const sums = new Int32Array(line);
  for (let row = 0; row < want; row++) {
    sums.fill(1 << (bits - 1));
    for (let index = 0; index < counts[row]; index++) {
      const weight = weights[row * reach + index];
      const from = (starts[row] + index) * line;
      if (weight) for (let x = 0; x < line; x++) sums[x] += data[from + x] * weight;
    }
    const to = row * line;
    for (let x = 0; x < line; x++) result[to + x] = sums[x] >> bits;
  }
  return result;
}

/**
 * Change the width.
 * @param {Uint8Array | Uint8ClampedArray} data
 * @param {number} width
 * @param {number} height
 * @param {number} channels
 * @param {number} want
 * @param {boolean} newest
 */
function stretchColumns(data, width, height, channels, want, newest) {
  if (width === want) return data;
  const { starts, counts, weights, reach, bits } = weigh(width, want, newest);
  const result = new Uint8ClampedArray(height * want * channels);
  const half = 1 << (bits - 1);
  for (let row = 0, to = 0; row < height; row++) {
    const line = row * width * channels;
    for (let place = 0; place < want; place++) {
      const first = place * reach;
      const last = first + counts[place];
      let from = line + starts[place] * channels;
      if (channels === 3) {
        let [red, green, blue] = [half, half, half];
        for (let index = first; index < last; index++, from += 3) {
          const weight = weights[index];
          red += data[from] * weight;
          green += data[from + 1] * weight;
          blue += data[from + 2] * weight;
        }
        result[to] = red >> bits;
        result[to + 1] = green >> bits;
        result[to + 2] = blue >> bits;
      } else {
        for (let channel = 0; channel < channels; channel++) {
          let sum = half;
          for (let index = first, at = from + channel; index < last; index++, at += channels) {
            sum += data[at] * weights[index];
          }
          result[to + channel] = sum >> bits;
        }
      }
      to += channels;
    }
  }
  return result;
}
