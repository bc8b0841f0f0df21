// Where the evidence for an answer lies: Grad-CAM (Selvaraju et al. 2017) where the graph gives its parts, else occlusion (Zeiler &
// Fergus 2014). The same as whatsit's `runtime/explain.py` and `runtime/occlusion.py`.

const CELLS = 8; // along each side; a patch of 2 x 2 of them is hidden at each of 7 x 7 places
const BATCH = 7;

/** Return the evidence for the class of a number (the most probable one), `{ width, height, values }`, 0 to 1; null where there is none. */
export async function evidenceOf({ outputs, probabilities, number = probabilities.indexOf(Math.max(...probabilities)), pixels, width, height, logitsOf }) {
  if (outputs.feature_map) return scaled(gradCam(outputs.feature_map, outputs.gradcam_weights, number));
  return logitsOf ? scaled(await occlusion(pixels, width, height, probabilities.length, number, logitsOf)) : null;
}

function gradCam(map, weights, number) {
  const [, height, width, channels] = map.dims;
  const values = new Float32Array(height * width);
  const start = number * channels;
  for (let cell = 0; cell < values.length; cell += 1) {
    let sum = 0;
    for (let channel = 0; channel < channels; channel += 1) sum += map.data[cell * channels + channel] * weights.data[start + channel];
    values[cell] = Math.max(sum, 0);
  }
  return { width, height, values };
}

async function occlusion(pixels, width, height, classes, number, logitsOf) {
  const edges = (side) => Array.from({ length: CELLS + 1 }, (_, i) => halfToEven((side * i) / CELLS));
  const [rows, columns] = [edges(height), edges(width)];
  const colour = [0, 1, 2].map((channel) => {
    let sum = 0;
    for (let i = channel; i < pixels.length; i += 3) sum += pixels[i];
    return halfToEven(sum / (width * height));
  });
  const pictures = [pixels];
  for (let row = 0; row < CELLS - 1; row += 1) {
    for (let column = 0; column < CELLS - 1; column += 1) {
      const hidden = pixels.slice();
      for (let y = rows[row]; y < rows[row + 2]; y += 1) {
        for (let x = columns[column]; x < columns[column + 2]; x += 1) hidden.set(colour, (y * width + x) * 3);
      }
      pictures.push(hidden);
    }
  }
  const odds = [];
  for (let start = 0; start < pictures.length; start += BATCH) {
    const batch = pictures.slice(start, start + BATCH);
    const joined = new Uint8Array(batch.length * pixels.length);
    batch.forEach((picture, i) => joined.set(picture, i * pixels.length));
    const logits = await logitsOf(joined);
    batch.forEach((_, i) => odds.push(logOdds(logits.subarray(i * classes, (i + 1) * classes), number)));
  }
  const [total, times] = [new Float64Array(CELLS * CELLS), new Float64Array(CELLS * CELLS)];
  for (let place = 0; place < (CELLS - 1) ** 2; place += 1) {
    const [row, column] = [Math.floor(place / (CELLS - 1)), place % (CELLS - 1)];
    for (const [y, x] of [[row, column], [row, column + 1], [row + 1, column], [row + 1, column + 1]]) {
      total[y * CELLS + x] += Math.max(odds[0] - odds[place + 1], 0);
      times[y * CELLS + x] += 1;
    }
  }
  return { width: CELLS, height: CELLS, values: Float32Array.from(total, (sum, cell) => sum / times[cell]) };
}

/** The logarithm of the odds of a class: its logit less the log of the sum of the others' exponentials. */
function logOdds(logits, number) {
  const others = Array.from(logits).filter((_, i) => i !== number);
  const most = Math.max(...others);
  return logits[number] - (most + Math.log(others.reduce((sum, value) => sum + Math.exp(value - most), 0)));
}

function halfToEven(value) {
  const whole = Math.floor(value);
  return value - whole === 0.5 ? whole + (whole % 2) : Math.round(value);
}

function scaled({ width, height, values }) {
  const most = Math.max(...values);
  return most > 0 && Number.isFinite(most) ? { width, height, values: values.map((value) => value / most) } : null;
}
