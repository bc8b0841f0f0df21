// From the coefficients of a JPEG's block to its samples, in whole numbers, to the bit as libjpeg does it ("islow").
//
// The transform of 8 x 8 is that of Loeffler, Ligtenberg and Moschytz ("Practical fast 1-D DCT algorithms with 11
// multiplications", ICASSP 1989), with constants of 13 bits; after the columns 2 bits more than the samples have are
// left. Those of 4 x 4 and 2 x 2 use the same algorithm for the lowest frequencies alone (scaled decoding). Columns and rows
// are written out: one function for both took twice as long.

// Where coefficients are out of the range that pictures give, as in damaged files, sums of 16 bits overflow in libjpeg on
// most processors; here too.

export const WILD = 512;

const work = new Int32Array(64);

/**
 * @callback Transform
 * @param {Int16Array | Int32Array} block coefficients times their divisors, row by row, 64 from `from`
 * @param {number} from
 * @param {Uint8Array | Uint8ClampedArray} out samples
 * @param {number} at where the block's first sample belongs
 * @param {number} stride samples of a row of `out`
 * @param {boolean} isWild some coefficients are `WILD` or larger
 */

/** @type {Transform} */
function toEight(block, from, out, at, stride, isWild) {
  for (let column = 0; column < 8; column++) {
    const place = from + column;
    const c1 = block[place + 8];
    const c2 = block[place + 16];
    const c3 = block[place + 24];
    const c4 = block[place + 32];
    const c5 = block[place + 40];
    const c6 = block[place + 48];
    const c7 = block[place + 56];
    if ((c1 | c2 | c3 | c4 | c5 | c6 | c7) === 0) {
      const flat = block[place] << 2;
      work[column] = flat;
      work[column + 8] = flat;
      work[column + 16] = flat;
      work[column + 24] = flat;
      work[column + 32] = flat;
      work[column + 40] = flat;
      work[column + 48] = flat;
      work[column + 56] = flat;
      continue;
    }
    const even = Math.imul(c2 + c6, 4433);
    const low = even - Math.imul(c6, 15137);
    const high = even + Math.imul(c2, 6270);
    const sum = ((block[place] + c4) << 16) >> 3;
    const difference = ((block[place] - c4) << 16) >> 3;
    const e0 = sum + high + 1024;
    const e3 = sum - high + 1024;
    const e1 = difference + low + 1024;
    const e2 = difference - low + 1024;
    const s3 = ((c7 + c3) << 16) >> 16;
    const s4 = ((c5 + c1) << 16) >> 16;
    const z5 = Math.imul(s3 + s4, 9633);
    const z1 = Math.imul(c7 + c1, -7373);
    const z2 = Math.imul(c5 + c3, -20995);
    const z3 = Math.imul(s3, -16069) + z5;
    const z4 = Math.imul(s4, -3196) + z5;
    const o0 = Math.imul(c7, 2446) + z1 + z3;
    const o1 = Math.imul(c5, 16819) + z2 + z4;
    const o2 = Math.imul(c3, 25172) + z2 + z3;
    const o3 = Math.imul(c1, 12299) + z1 + z4;
    work[column] = (e0 + o3) >> 11;
    work[column + 56] = (e0 - o3) >> 11;
    work[column + 8] = (e1 + o2) >> 11;
    work[column + 48] = (e1 - o2) >> 11;
    work[column + 16] = (e2 + o1) >> 11;
    work[column + 40] = (e2 - o1) >> 11;
    work[column + 24] = (e3 + o0) >> 11;
    work[column + 32] = (e3 - o0) >> 11;
  }
  if (isWild) saturate(isFlat(block, from, 0));
  const half = 1 << 17;
  for (let row = 0; row < 64; row += 8, at += stride) {
    const c1 = work[row + 1];
    const c2 = work[row + 2];
    const c3 = work[row + 3];
    const c4 = work[row + 4];
    const c5 = work[row + 5];
    const c6 = work[row + 6];
    const c7 = work[row + 7];
    if ((c1 | c2 | c3 | c4 | c5 | c6 | c7) === 0) {
      const flat = clipped(((work[row] + 16) >> 5) + 128);
      out[at] = flat;
      out[at + 1] = flat;
      out[at + 2] = flat;
      out[at + 3] = flat;
      out[at + 4] = flat;
      out[at + 5] = flat;
      out[at + 6] = flat;
      out[at + 7] = flat;
      continue;
    }
    const even = Math.imul(c2 + c6, 4433);
    const low = even - Math.imul(c6, 15137);
    const high = even + Math.imul(c2, 6270);
    const sum = ((work[row] + c4) << 16) >> 3;
    const difference = ((work[row] - c4) << 16) >> 3;
    const e0 = sum + high + half;
    const e3 = sum - high + half;
    const e1 = difference + low + half;
    const e2 = difference - low + half;
    const s3 = ((c7 + c3) << 16) >> 16;
    const s4 = ((c5 + c1) << 16) >> 16;
    const z5 = Math.imul(s3 + s4, 9633);
    const z1 = Math.imul(c7 + c1, -7373);
    const z2 = Math.imul(c5 + c3, -20995);
    const z3 = Math.imul(s3, -16069) + z5;
    const z4 = Math.imul(s4, -3196) + z5;
    const o0 = Math.imul(c7, 2446) + z1 + z3;
    const o1 = Math.imul(c5, 16819) + z2 + z4;
    const o2 = Math.imul(c3, 25172) + z2 + z3;
    const o3 = Math.imul(c1, 12299) + z1 + z4;
    out[at] = clipped(((e0 + o3) >> 18) + 128);
    out[at + 7] = clipped(((e0 - o3) >> 18) + 128);
    out[at + 1] = clipped(((e1 + o2) >> 18) + 128);
    out[at + 6] = clipped(((e1 - o2) >> 18) + 128);
    out[at + 2] = clipped(((e2 + o1) >> 18) + 128);
    out[at + 5] = clipped(((e2 - o1) >> 18) + 128);
    out[at + 3] = clipped(((e3 + o0) >> 18) + 128);
    out[at + 4] = clipped(((e3 - o0) >> 18) + 128);
  }
}

/** @type {Transform} */
function toFour(block, from, out, at, stride, isWild) {
  for (let column = 0; column < 8; column++) {
    if (column === 4) continue; // the rows do not use it
    const place = from + column;
    const c1 = block[place + 8];
    const c3 = block[place + 24];
    const c5 = block[place + 40];
    const c7 = block[place + 56];
    const start = (block[place] << 14) + 2048;
    const even = Math.imul(block[place + 16], 15137) - Math.imul(block[place + 48], 6270);
    const inner = Math.imul(c7, -1730) + Math.imul(c5, 11893) + Math.imul(c3, -17799) + Math.imul(c1, 8697);
    const outer = Math.imul(c7, -4176) + Math.imul(c5, -4926) + Math.imul(c3, 7373) + Math.imul(c1, 20995);
    work[column] = (start + even + outer) >> 12;
    work[column + 24] = (start + even - outer) >> 12;
    work[column + 8] = (start - even + inner) >> 12;
    work[column + 16] = (start - even - inner) >> 12;
  }
  if (isWild) saturate(isFlat(block, from, 4));
  for (let row = 0; row < 32; row += 8, at += stride) {
    const c1 = work[row + 1];
    const c3 = work[row + 3];
    const c5 = work[row + 5];
    const c7 = work[row + 7];
    const start = (work[row] << 14) + (1 << 18);
    const even = Math.imul(work[row + 2], 15137) - Math.imul(work[row + 6], 6270);
    const inner = Math.imul(c7, -1730) + Math.imul(c5, 11893) + Math.imul(c3, -17799) + Math.imul(c1, 8697);
    const outer = Math.imul(c7, -4176) + Math.imul(c5, -4926) + Math.imul(c3, 7373) + Math.imul(c1, 20995);
    out[at] = clipped(((start + even + outer) >> 19) + 128);
    out[at + 3] = clipped(((start + even - outer) >> 19) + 128);
    out[at + 1] = clipped(((start - even + inner) >> 19) + 128);
    out[at + 2] = clipped(((start - even - inner) >> 19) + 128);
  }
}

/** @type {Transform} */
function toTwo(block, from, out, at, stride, isWild) {
  for (let column = 0; column < 8; column++) {
    if (column === 2 || column === 4 || column === 6) continue;
    const place = from + column;
    const start = (block[place] << 15) + 4096;
    const odd =
      Math.imul(block[place + 56], -5906) +
      Math.imul(block[place + 40], 6967) +
      Math.imul(block[place + 24], -10426) +
      Math.imul(block[place + 8], 29692);
    work[column] = (start + odd) >> 13;
    work[column + 8] = (start - odd) >> 13;
  }
  if (isWild) {
    const [first, second] = [work[0], work[8]];
    saturate(false);
    [work[0], work[8]] = [first, second]; // libjpeg keeps these in 32 bits
  }
  for (let row = 0; row < 16; row += 8, at += stride) {
    const start = (work[row] << 15) + (1 << 19);
    const odd =
      Math.imul(work[row + 7], -5906) +
      Math.imul(work[row + 5], 6967) +
      Math.imul(work[row + 3], -10426) +
      Math.imul(work[row + 1], 29692);
    out[at] = clipped(((start + odd) >> 20) + 128);
    out[at + 1] = clipped(((start - odd) >> 20) + 128);
  }
}

/** @type {Transform} */
function toOne(block, from, out, at) {
  out[at] = clipped(((((block[from] + 4) >> 3) << 22) >> 22) + 128); // of which libjpeg keeps ten bits
}

/**
 * Bring what the columns gave into 16 bits.
 * @param {boolean} isFlat all rows but the first are zero, of which libjpeg keeps the lower bits
 */
function saturate(isFlat) {
  for (let at = 0; at < 64; at++) {
    work[at] = isFlat ? (work[at] << 16) >> 16 : Math.min(Math.max(work[at], -32768), 32767);
  }
}

/**
 * Return whether all rows of a block are zero but the first and perhaps another.
 * @param {Int16Array | Int32Array} block
 * @param {number} from
 * @param {number} spared a row
 */
function isFlat(block, from, spared) {
  for (let index = 8; index < 64; index++) if (block[from + index] && index >> 3 !== spared) return false;
  return true;
}

/** @param {number} sample */
function clipped(sample) {
  return sample < 0 ? 0 : sample > 255 ? 255 : sample;
}

/**
 * By how many samples a block has on each side.
 * @type {Record<number, Transform>}
 */
export const TRANSFORMS = { 1: toOne, 2: toTwo, 4: toFour, 8: toEight };
