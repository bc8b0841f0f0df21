// Drawings of pictures: what the model saw, and where the evidence lies in it.

// Viridis: even steps of lightness, legible with colour blindness (van der Walt & Smith 2015).
const VIRIDIS = [
  [68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142],
  [31, 158, 137], [53, 183, 121], [109, 205, 89], [180, 222, 44], [253, 231, 37],
];

/** A canvas of pixels, RGB, rows from the top. */
export function drawPixels(pixels, [width, height]) {
  const canvas = Object.assign(document.createElement('canvas'), { width, height });
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i += 1) {
    image.data.set(pixels.subarray(3 * i, 3 * i + 3), 4 * i);
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext('2d').putImageData(image, 0, 0);
  return canvas;
}

/** The picture in grey, tinted by the evidence: a canvas of its own. */
export function drawEvidence(canvas, evidence) {
  const { width, height } = canvas;
  const spread = smoothed(evidence, width, height);
  const over = Object.assign(document.createElement('canvas'), { width, height });
  const context = over.getContext('2d');
  const image = canvas.getContext('2d').getImageData(0, 0, width, height);
  const { data } = image;
  for (let i = 0; i < spread.length; i += 1) {
    const value = spread[i];
    const weight = 0.25 + 0.4 * value;
    const alpha = data[4 * i + 3] / 255; // transparent pictures lie on white
    const grey = 255 * (1 - alpha) + (alpha * (data[4 * i] + data[4 * i + 1] + data[4 * i + 2])) / 3;
    const place = value * (VIRIDIS.length - 1);
    const below = Math.min(Math.floor(place), VIRIDIS.length - 2);
    for (let channel = 0; channel < 3; channel += 1) {
      const colour = VIRIDIS[below][channel] + (place - below) * (VIRIDIS[below + 1][channel] - VIRIDIS[below][channel]);
      data[4 * i + channel] = (1 - weight) * grey + weight * colour;
    }
    data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  over.setAttribute('role', 'img');
  over.setAttribute('aria-label', canvas.getAttribute('aria-label') ?? '');
  return over;
}

/** The cells spread over the whole picture by cubic convolution (Keys 1981), as whatsit's drawings have it, 0 to 1. */
function smoothed({ width: columns, height: rows, values }, width, height) {
  const [across, down] = [sharesOf(width, columns), sharesOf(height, rows)];
  const wide = new Float32Array(rows * width);
  for (let row = 0; row < rows; row += 1) {
    for (let x = 0; x < width; x += 1) {
      let sum = 0;
      for (const [cell, share] of across[x]) sum += share * values[row * columns + cell];
      wide[row * width + x] = sum;
    }
  }
  const spread = new Float32Array(width * height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      let sum = 0;
      for (const [cell, share] of down[y]) sum += share * wide[cell * width + x];
      spread[y * width + x] = Math.min(Math.max(sum, 0), 1);
    }
  }
  return spread;
}

/** For each pixel along an axis, the cells that it is made of, each with its share. */
function sharesOf(length, cells) {
  return Array.from({ length }, (_, place) => {
    const exact = ((place + 0.5) * cells) / length - 0.5;
    const first = Math.floor(exact);
    return [-1, 0, 1, 2].map((step) => [Math.min(Math.max(first + step, 0), cells - 1), cubic(first + step - exact)]);
  });
}

function cubic(distance) {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}
