// What is said of a picture that is not read.

/**
 * A picture cannot be read. `code` says why, for pages that say it in their own words:
 * `empty` (no bytes), `format` (neither this module nor the browser reads such files), `damaged` (a part of the file is
 * missing or wrong) or `too-large` (more pixels or bytes than are read, or than there is memory for).
 */
export class PictureError extends Error {
  /**
   * @param {'empty' | 'format' | 'damaged' | 'too-large'} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.name = "PictureError";
    this.code = code;
  }
}

export const MAX_PIXELS = 100_000_000;
export const MAX_BYTES = 256 * 1024 * 1024;

/** @param {string} why */
export function damaged(why) {
  return new PictureError("damaged", `the picture is damaged or cut short: ${why}`);
}

/** @param {string} what */
export function unsupported(what) {
  return new PictureError("format", `this is ${what}, which is not read; save the picture as an ordinary JPEG or PNG`);
}

/**
 * Refuse a picture before memory is taken for it.
 * @param {number} width
 * @param {number} height
 */
export function requireFewPixels(width, height) {
  if (width * height > MAX_PIXELS) {
    throw new PictureError(
      "too-large",
      `the picture has ${width} x ${height} pixels; at most ${MAX_PIXELS} in all are read; scale it down`,
    );
  }
}
