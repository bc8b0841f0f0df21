// Transparent pictures on white paper, to the bit as Pillow composes them.

/**
 * Return what is seen of a level, 0 to 255, with this opacity, 0 to 255, on white.
 * @param {number} level
 * @param {number} alpha
 */
export function opaque(level, alpha) {
  const sum = (level * alpha + 255 * (255 - alpha)) * 128 + 0x4000;
  return (((sum >> 8) + sum) >> 8) >> 7;
}

/**
 * Lay RGBA on white.
 * @param {Uint8Array | Uint8ClampedArray} data
 * @returns {Uint8Array} RGB
 */
export function onWhite(data) {
  const result = new Uint8Array((data.length / 4) * 3);
  for (let at = 0, to = 0; to < result.length; at += 4, to += 3) {
    const alpha = data[at + 3];
    for (let channel = 0; channel < 3; channel++) {
      result[to + channel] = alpha === 255 ? data[at + channel] : opaque(data[at + channel], alpha);
    }
  }
  return result;
}
