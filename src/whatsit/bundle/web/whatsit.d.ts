/** A picture classifier in a web page, written by `whatsit export --format web`. */

/**
 * What went wrong:
 * - `network`: a file cannot be fetched; `missing`: the host does not have one of the model's files (`detail` names it)
 * - `old-browser`, `simd`: the browser is too old; `memory`: the device has too little memory
 * - `worker`: the host serves scripts with a wrong type, or the page's rules forbid workers
 * - `model`: the browser's runtime refuses the model
 * - `picture-format`, `picture-damaged`, `picture-too-large`, `picture-empty`: the picture cannot be read
 * - `closed`: the model was closed
 */
export type ErrorCode =
  | 'network' | 'missing' | 'old-browser' | 'simd' | 'memory' | 'worker' | 'model' | 'closed'
  | 'picture-format' | 'picture-damaged' | 'picture-too-large' | 'picture-empty';

export class WhatsitError extends Error {
  code: ErrorCode;
  detail: string;
}

export interface Score {
  label: string;
  /** Calibrated, 0 to 1. */
  probability: number;
}

/** The most probable class, where another is answered because mistakes have prices. */
export interface Overruled extends Score {
  /** The expected cost of answering it. */
  cost: number;
  /** That of the answer which is given: the least. */
  answerCost: number;
}

export interface Prediction extends Score {
  /** The picture seems to belong to none of the classes. */
  unknown: boolean;
  /** Every class, the most probable first. */
  top: Score[];
  /** Of a model with costs: the most probable class, where that is not the answer. */
  overruled?: Overruled;
  /** In the order of `Model.classes`. */
  probabilities: Float32Array;
  /** The out-of-distribution score; NaN where the model has none. */
  score: number;
  /** With `explain`: where the evidence for the label lies, 0 to 1, rows from the top; null where there is none. */
  evidence?: { width: number; height: number; values: Float32Array } | null;
}

/** Files and blobs are read exactly as whatsit in Python reads them; others as the browser shows them. */
export type Picture =
  | Blob | ArrayBuffer | ArrayBufferView
  | HTMLImageElement | HTMLVideoElement | HTMLCanvasElement | OffscreenCanvas | ImageBitmap | ImageData;

export interface Model {
  readonly classes: string[];
  readonly about: Record<string, unknown>;
  predict(picture: Picture, options?: { explain?: boolean }): Promise<Prediction>;
  close(): void;
}

/** Open the model in a folder by its address; by default the folder of `whatsit.js`. Rejects with a `WhatsitError`. */
export function load(
  site?: string | URL,
  options?: { onProgress?: (progress: { loaded: number; total: number }) => void },
): Promise<Model>;

/**
 * `<whatsit-classifier src="/shop/" top="3">`: a field for pictures, and the answer.
 * Events: `prediction` (`detail` is a `Prediction`) and `failure` (`detail` is a `WhatsitError`).
 */
declare global {
  interface HTMLElementTagNameMap {
    'whatsit-classifier': HTMLElement & { predict(picture: Picture): Promise<Prediction> };
  }
}
