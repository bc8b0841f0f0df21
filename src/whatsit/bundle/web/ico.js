// Icons of Windows (ICO): their largest picture, a PNG or a bitmap with a mask, decoded to RGB as Pillow reads it.

import { decodeBmp } from "./bmp.js";
import { hasText } from "./bytes.js";
import { damaged, unsupported } from "./errors.js";
import { onWhite } from "./paper.js";

/** @param {Uint8Array} bytes */
export function isIcon(bytes) {
  return hasText(bytes, "\0\0\x01\0");
}

/**
 * Return the largest picture of an icon, a PNG or a bitmap, and its bits as the icon has them. Raises `PictureError`.
 * @param {Uint8Array} bytes
 */
export function largestOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = bytes.length < 6 ? 0 : view.getUint16(4, true);
  if (count < 1 || count > 256 || bytes.length < 6 + 16 * count) throw damaged("its list of pictures is incomplete");
  let [best, most] = [6, -1];
  for (let at = 6; at < 6 + 16 * count; at += 16) {
    const size = (bytes[at] || 256) * (bytes[at + 1] || 256) * 256 + bytes[at + 6];
    if (size > most) [best, most] = [at, size];
  }
  const [length, start] = [view.getUint32(best + 8, true), view.getUint32(best + 12, true)];
  const body = bytes.subarray(start, start + length);
  if (body.length < Math.max(length, 40)) throw damaged("its largest picture is incomplete");
  return { body, bits: view.getUint16(best + 6, true) };
}

/**
 * Decode the bitmap of an icon, on white. Raises `PictureError`.
 * @param {{ body: Uint8Array, bits: number }} icon
 * @returns {import("./jpeg.js").Picture}
 */
export function decodeIcon({ body, bits }) {
  const head = new DataView(body.buffer, body.byteOffset, 40);
  const [width, double, depth] = [head.getInt32(4, true), head.getInt32(8, true), head.getUint16(14, true)];
  const isUsual = head.getUint32(0, true) === 40 && [1, 4, 8, 16, 24, 32].includes(depth) && !head.getUint32(16, true);
  if (!isUsual || width < 1 || width > 1024 || double < 2 || double > 2048) {
    throw unsupported(`an icon of ${width} x ${double / 2} pixels with ${depth} bits`);
  }
  const height = double >> 1;
  const file = new Uint8Array(14 + body.length);
  file.set([0x42, 0x4d]);
  file.set(body, 14);
  new DataView(file.buffer).setUint32(10, 54, true);
  new DataView(file.buffer).setInt32(22, height, true);
  const picture = decodeBmp(file);
  const pixels = new Uint8Array(width * height * 4);
  const line = bits === 32 ? width * 4 : ((width + 31) >> 5) * 4;
  const start = bits === 32 ? 40 : body.length - line * height;
  if (start < 40 || start + line * height > body.length) throw damaged("the file ends before the picture does");
  for (let row = 0, to = 0, from = 0; row < height; row++) {
    const mask = start + (height - 1 - row) * line;
    for (let x = 0; x < width; x++, to += 4, from += 3) {
      pixels.set(picture.data.subarray(from, from + 3), to);
      if (bits === 32) pixels[to + 3] = body[mask + 4 * x + 3];
      else pixels[to + 3] = (body[mask + (x >> 3)] >> (7 - (x & 7))) & 1 ? 0 : 255;
    }
  }
  return { ...picture, data: onWhite(pixels) };
}
