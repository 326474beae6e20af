// Runs the network in a thread of its own, so that the page stays responsive. Messages: { open } and { bitmap }.

import { letterbox } from "./detect.js";

const MOST_CANDIDATES = 2000n; // of NMS, in the file
const LOWEST_SCORE = 0.01; // of the page's slider

let ort, record, session, pixels;

// Downloads a file and reports the share that has arrived.
async function download(name, size) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name}: the server answers ${response.status}; expected the file`);
  const reader = response.body.getReader();
  const bytes = new Uint8Array(size);
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (length + value.length > size) throw new Error(`${name}: more than ${size} bytes; expected the page's own file`);
    bytes.set(value, length);
    length += value.length;
    postMessage({ progress: length / size });
  }
  if (length !== size) throw new Error(`${name}: ${length} bytes; expected ${size}; reload the page`);
  return bytes;
}

async function open({ record: given, provider }) {
  record = given;
  ort = await import(`./ort.${provider}.min.mjs`);
  ort.env.logLevel = "error";
  // Threads need memory that they share, which a browser allows on isolated pages only (COOP and COEP headers).
  const threads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 8) : 1;
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = new URL("./", import.meta.url).href;
  const model = await download("model.onnx", record.model_bytes);
  session = await ort.InferenceSession.create(model, { executionProviders: [provider], logSeverityLevel: 3 }); // errors
  await run(new Uint8Array(record.image_size[0] * record.image_size[1] * 3)); // the first run takes several times as long
  return { threads };
}

// RGBA bytes of an upright image; transparent parts are white, as in data/images.py.
function pixelsOf(bitmap) {
  const { width, height } = bitmap;
  if (pixels?.canvas.width !== width || pixels.canvas.height !== height) {
    pixels = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    if (!pixels) throw new Error(`${width} x ${height} pixels: too large for this browser; expected a smaller image`);
  }
  pixels.fillStyle = "white";
  pixels.fillRect(0, 0, width, height);
  pixels.drawImage(bitmap, 0, 0);
  return pixels.getImageData(0, 0, width, height);
}

async function run(input) {
  const { thresholds, image_size } = record;
  const lowest = Math.min(LOWEST_SCORE, thresholds.score, ...Object.values(thresholds.per_class_score));
  return session.run({
    images: new ort.Tensor("uint8", input, [1, ...image_size, 3]),
    score_threshold: new ort.Tensor("float32", [lowest], []),
    iou_threshold: new ort.Tensor("float32", [thresholds.agnostic ? 1 : thresholds.iou], []), // agnostic: see `select`
    max_detections: new ort.Tensor("int64", [MOST_CANDIDATES], []),
  });
}

async function detect(bitmap) {
  const started = performance.now();
  const { input, toImage } = letterbox(pixelsOf(bitmap), record);
  const prepared = performance.now();
  const result = await run(input);
  const found = Array.from(result.scores.data, (score, row) => {
    const box = Array.from(result.boxes_xyxy.data.subarray(4 * row, 4 * row + 4));
    return { label: Number(result.labels.data[row]), score, input: box, box: toImage(box) };
  });
  return { found, milliseconds: { prepare: prepared - started, network: performance.now() - prepared } };
}

onmessage = async ({ data: { open: options, bitmap } }) => {
  try {
    const answer = options ? await open(options) : await detect(bitmap);
    postMessage({ answer, bitmap }, bitmap ? [bitmap] : []);
  } catch (error) {
    postMessage({ error: String(error.message ?? error) });
  }
};
