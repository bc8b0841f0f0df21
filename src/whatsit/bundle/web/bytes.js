// Pieces of files.

/**
 * Return whether text stands at a place in bytes.
 * @param {Uint8Array} bytes
 * @param {string} text ASCII
 * @param {number} at
 */
export function hasText(bytes, text, at = 0) {
  if (at + text.length > bytes.length) return false;
  for (let index = 0; index < text.length; index++) {
    if (bytes[at + index] !== text.charCodeAt(index)) return false;
  }
  return true;
}

/**
 * Return pieces as a whole.
 * @param {Uint8Array[]} pieces
 */
export function joined(pieces) {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
