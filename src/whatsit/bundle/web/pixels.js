// A picture's file to the pixels that a model takes: the same as whatsit's own decoder gives (src/whatsit/images/decode.py).
//
// JPEG, PNG, BMP, GIF, PNM, TGA and ICO are decoded here, to the bit; WebP, AVIF and others by the browser. It runs in a page, in
// a worker and, but for what needs the browser, under Node.

import { decodeBmp, isBmp } from "./bmp.js";
import { decodeByBrowser } from "./browser.js";
import { hasText } from "./bytes.js";
import { transformOf } from "./colour.js";
import { MAX_BYTES, PictureError } from "./errors.js";
import { isOnItsSide, orientationOf, upright } from "./exif.js";
import { forBrowser } from "./formats.js";
import { decodeGif, isGif } from "./gif.js";
import { decodeIcon, isIcon, largestOf } from "./ico.js";
import { checkJpeg, decodeJpeg } from "./jpeg.js";
import { onWhite } from "./paper.js";
import { checkPng, decodePng, isPng } from "./png.js";
import { decodePnm, isPnm } from "./pnm.js";
import { RULES, stretch } from "./resize.js";
import { decodeTga, mayBeTga } from "./tga.js";

export { PictureError };

/**
 * What a model takes: its size in pixels, and the name of its rule for reading pictures (`resize` in `preprocess.json`).
 * @typedef {{ width: number, height: number, resize: string }} Target
 */

/**
 * Read a picture as a model takes it. Raises `PictureError`.
 * @param {Blob | ArrayBuffer | Uint8Array} source a picture's file
 * @param {Target} target
 * @returns {Promise<Uint8Array>} RGB, 0 to 255, `height * width * 3`
 */
export async function pixelsOf(source, target) {
  checkTarget(target);
  try {
    return await read(await bytesOf(source), target);
  } catch (error) {
    throw asPictureError(error);
  }
}

/**
 * Read a frame of a video or a canvas as a model takes it: what is transparent on white, stretched.
 * @param {{ data: Uint8ClampedArray, width: number, height: number }} frame RGBA
 * @param {Target} target
 * @returns {Uint8Array} RGB, 0 to 255, `height * width * 3`
 */
export function pixelsOfFrame({ data, width, height }, target) {
  checkTarget(target);
  if (!width || !height || data.length !== width * height * 4)
    throw new PictureError("empty", "the frame has no pixels");
  const picture = { width, height, channels: 3, data: onWhite(data) };
  return plain(stretch(picture, target.width, target.height, target.resize).data);
}

/** @param {Target} target */
function checkTarget({ width, height, resize }) {
  if (!(width >= 1 && height >= 1))
    throw new RangeError(`a size must be two positive numbers, received ${width}, ${height}`);
  if (!RULES.includes(resize))
    throw new RangeError(`there is no rule '${resize}' for reading pictures; there are ${RULES}`);
}

/** @param {Blob | ArrayBuffer | Uint8Array} source perhaps of another window */
async function bytesOf(source) {
  const length = "size" in source ? source.size : source.byteLength;
  if (!length) throw new PictureError("empty", "the file is empty (0 bytes)");
  if (length > MAX_BYTES) throw new PictureError("too-large", "the file has more than 256 MB, which is not read");
  if (source instanceof Uint8Array) return source;
  return new Uint8Array("size" in source ? await source.arrayBuffer() : source);
}

/** @param {unknown} error what a decoder threw */
function asPictureError(error) {
  if (error instanceof PictureError) return error;
  const name = error instanceof Error ? error.name : "";
  if (/Range|Internal/.test(name) && /alloc|length|memory|size/i.test(String(error))) {
    return new PictureError("too-large", "the picture needs more memory than there is");
  }
  return new PictureError("damaged", `the picture is damaged or cut short: ${error}`);
}

/**
 * @param {Uint8Array} bytes
 * @param {Target} target
 */
async function read(bytes, { width, height, resize }) {
  const isFirst = resize === RULES[0];
  const { orientation, decode } = checked(bytes, !isFirst);
  const onItsSide = isOnItsSide(orientation);
  const picture = await decode(onItsSide ? height : width, onItsSide ? width : height);
  const turned = picture.isUpright ? 1 : orientation;
  const [wide, high] = isOnItsSide(turned) ? [height, width] : [width, height];
  const transform = isFirst || !picture.profile ? null : transformOf(picture.profile, picture.kind);
  const small = stretch(transform ? picture : toRgb(picture), wide, high, resize);
  const data = transform ? transform(small.data) : small.data;
  return turned === 1 ? plain(data) : upright(data, wide, high, turned);
}

/**
 * Check a file by what it is; return how it is turned, and what decodes it.
 * @param {Uint8Array} bytes
 * @param {boolean} guess see `decodePng`
 * @returns {{ orientation: number, decode: (width: number, height: number) => any }}
 */
function checked(bytes, guess) {
  if (hasText(bytes, "\xff\xd8\xff")) {
    const jpeg = checkJpeg(bytes);
    const orientation = orientationOf(jpeg.header.exif, jpeg.header.xmp);
    return { orientation, decode: (width, height) => decodeJpeg(jpeg, width, height) };
  }
  if (isPng(bytes)) {
    const png = checkPng(bytes);
    return { orientation: orientationOf(png.exif, png.xmp), decode: () => decodePng(png, guess) };
  }
  if (isGif(bytes)) return { orientation: 1, decode: () => decodeGif(bytes) };
  if (isBmp(bytes)) return { orientation: 1, decode: () => decodeBmp(bytes) };
  if (isPnm(bytes)) return { orientation: 1, decode: () => decodePnm(bytes, guess) };
  if (isIcon(bytes)) {
    const icon = largestOf(bytes);
    return isPng(icon.body) ? checked(icon.body, guess) : { orientation: 1, decode: () => decodeIcon(icon) };
  }
  if (!hasText(bytes, "ftyp", 4) && mayBeTga(bytes)) {
    return { orientation: 1, decode: () => decodeTga(bytes) };
  }
  const { type, bytes: plainBytes, exif, xmp, profile } = forBrowser(bytes);
  const decode = async () => ({ ...(await decodeByBrowser(plainBytes, type)), kind: "RGB", profile });
  return { orientation: orientationOf(exif, xmp), decode };
}

/**
 * Make CMYK RGB, as Pillow does it without a colour profile.
 * @param {import("./jpeg.js").Picture} picture
 */
function toRgb(picture) {
  if (picture.channels === 3) return picture;
  const data = new Uint8Array(picture.width * picture.height * 3);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    const light = 255 - picture.data[from + 3];
    for (let channel = 0; channel < 3; channel++) {
      const product = picture.data[from + channel] * light + 128;
      data[to + channel] = Math.max(0, light - (((product >> 8) + product) >> 8));
    }
  }
  return { ...picture, channels: /** @type {3} */ (3), data };
}

/** @param {Uint8Array | Uint8ClampedArray} data */
function plain(data) {
  return data instanceof Uint8Array ? data : new Uint8Array(data.buffer, data.byteOffset, data.length);
}
