// Formats that are left to the browser's own decoders: WebP, AVIF; HEIC, TIFF and JPEG 2000 where it has one.

import { PictureError, damaged, requireFewPixels } from "./errors.js";

// Neither changed by a colour profile, nor multiplied by their opacity; but upright.
const OPTIONS = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };

const BAND = 1 << 22; // pixels that are taken at once: phones have no large canvases

/**
 * Decode a file by the browser, on white. Raises `PictureError`.
 * @param {Uint8Array} bytes
 * @param {string} type
 * @returns {Promise<{ width: number, height: number, channels: 3, data: Uint8Array, isUpright: boolean }>} `isUpright`
 *   where the browser turns it
 */
export async function decodeByBrowser(bytes, type) {
  const name = type.replace(/image\/(x-)?/, "").toUpperCase();
  const words = `this browser cannot read ${name} pictures, or this one is damaged; save it as JPEG or PNG`;
  const cannot = new PictureError("format", words);
  if (typeof createImageBitmap !== "function") throw cannot;
  const blob = new Blob([/** @type {any} */ (bytes)], { type });
  const isUpright = type !== "image/webp"; // of which nothing is left that says how it is turned
  const bitmap = (await tried(blob, OPTIONS)) || (await tried(blob, {})); // for browsers that do not know the options
  if (!bitmap && type === "image/webp") throw damaged("the browser cannot decode it"); // which every browser knows
  if (!bitmap) throw cannot;
  const { width, height } = bitmap;
  try {
    requireFewPixels(width, height);
    const data = new Uint8Array(width * height * 3);
    const rows = Math.min(height, Math.max(1, Math.floor(BAND / width)));
    const context = contextOf(width, rows);
    context.fillStyle = "white";
    for (let top = 0, to = 0; top < height; top += rows) {
      context.fillRect(0, 0, width, rows);
      context.drawImage(bitmap, 0, -top);
      const rgba = context.getImageData(0, 0, width, Math.min(rows, height - top)).data;
      for (let from = 0; from < rgba.length; from += 4, to += 3) {
        data[to] = rgba[from];
        data[to + 1] = rgba[from + 1];
        data[to + 2] = rgba[from + 2];
      }
    }
    return { width, height, channels: 3, data, isUpright };
  } finally {
    bitmap.close();
  }
}

/**
 * @param {Blob} blob
 * @param {object} options
 */
async function tried(blob, options) {
  try {
    return await createImageBitmap(blob, options);
  } catch {
    return null;
  }
}

/**
 * @param {number} width
 * @param {number} height
 * @returns {any}
 */
function contextOf(width, height) {
  const options = { willReadFrequently: true, colorSpace: "srgb" };
  if (typeof OffscreenCanvas === "function") {
    const context = new OffscreenCanvas(width, height).getContext("2d", /** @type {any} */ (options));
    if (context) return context;
  }
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas.getContext("2d", /** @type {any} */ (options));
}
