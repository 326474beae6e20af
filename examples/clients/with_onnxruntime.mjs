// ONNX Runtime in JavaScript: node with_onnxruntime.mjs MODEL.onnx IMAGE.ppm (npm install onnxruntime-node).
// In a browser: onnxruntime-web, and the RGB bytes of a canvas in place of the .ppm.

import { readFileSync } from "node:fs";
import { InferenceSession, Tensor } from "onnxruntime-node";

// The record follows its key in the file: byte 0x12, the length in groups of 7 bits, lowest first, the JSON.
function recordOf(bytes) {
  const key = "lookonce_record";
  let at = bytes.lastIndexOf(key) + key.length + 1;
  let length = 0;
  for (let shift = 0; ; shift += 7) {
    length += (bytes[at] & 127) << shift;
    if (bytes[at++] < 128) break;
  }
  return JSON.parse(bytes.subarray(at, at + length).toString("utf8"));
}

// A binary .ppm file -> { width, height, data: RGB bytes }.
function readPpm(path) {
  const bytes = readFileSync(path);
  const head = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(bytes.subarray(0, 64).toString("latin1"));
  if (head === null) throw new Error(`${path}: expected a binary .ppm of 8 bits; made by: convert photo.jpg photo.ppm`);
  return { width: Number(head[1]), height: Number(head[2]), data: bytes.subarray(head[0].length) };
}

function roundHalvesToEven(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

// The two source positions of each target position and their weights, in 1/2048.
function taps(source, target, clampsWeight) {
  const scale = 1 / (target / source);
  const last = source - 1;
  return Array.from({ length: target }, (_, position) => {
    const exact = Math.fround((position + 0.5) * scale - 0.5);
    const first = Math.floor(exact);
    let part = Math.fround(exact - first);
    if (clampsWeight && (first < 0 || first >= last)) part = 0;
    const inside = (at) => Math.min(Math.max(at, 0), last);
    return [inside(first), inside(first + 1), roundHalvesToEven(Math.fround(1 - part) * 2048), roundHalvesToEven(part * 2048)];
  });
}

// Bilinear, as OpenCV's INTER_LINEAR computes it for bytes.
function resize({ width, height, data }, toWidth, toHeight) {
  if (toWidth === width && toHeight === height) return data;
  const result = new Uint8Array(toWidth * toHeight * 3);
  const isHalf = width === 2 * toWidth && height === 2 * toHeight;
  const [columns, rows] = [taps(width, toWidth, true), taps(height, toHeight, false)];
  for (let y = 0; y < toHeight; ++y) {
    const [upper, lower, upperWeight, lowerWeight] = rows[y];
    for (let x = 0; x < toWidth; ++x) {
      const [left, right, leftWeight, rightWeight] = columns[x];
      for (let channel = 0; channel < 3; ++channel) {
        const at = (row, column) => data[(row * width + column) * 3 + channel];
        const along = (row) => (at(row, left) * leftWeight + at(row, right) * rightWeight) >> 4;
        const [top, bottom] = [2 * y, 2 * x];
        result[(y * toWidth + x) * 3 + channel] = isHalf
          ? (at(top, bottom) + at(top, bottom + 1) + at(top + 1, bottom) + at(top + 1, bottom + 1) + 2) >> 2
          : (((upperWeight * along(upper)) >> 16) + ((lowerWeight * along(lower)) >> 16) + 2) >> 2;
      }
    }
  }
  return result;
}

// An image -> the network input, and a function from a box there to a box in the image.
function letterbox(image, record) {
  const [H, W] = record.image_size;
  const { resize: how, pad_value: pad, interpolation } = record.preprocessing;
  if (interpolation !== "linear") throw new Error(`interpolation: ${interpolation}; expected linear`);
  const { width: w, height: h } = image;
  let [fittedWidth, fittedHeight] = [W, H];
  if (how === "letterbox") {
    if (W * h <= H * w) fittedHeight = Math.max(1, Math.floor((2 * h * W + w) / (2 * w))); // halves up
    else fittedWidth = Math.max(1, Math.floor((2 * w * H + h) / (2 * h)));
  }
  const [left, top] = [Math.floor((W - fittedWidth) / 2), Math.floor((H - fittedHeight) / 2)];
  const canvas = new Uint8Array(H * W * 3).fill(pad);
  const resized = resize(image, fittedWidth, fittedHeight);
  for (let y = 0; y < fittedHeight; ++y) {
    const row = resized.subarray(y * fittedWidth * 3, (y + 1) * fittedWidth * 3);
    canvas.set(row, ((top + y) * W + left) * 3);
  }
  const [scaleX, scaleY] = [fittedWidth / w, fittedHeight / h]; // they differ by rounding
  const clip = (value, limit) => Math.min(Math.max(value, 0), limit);
  const toImage = ([x0, y0, x1, y1]) => [
    clip((x0 - left) / scaleX, w), clip((y0 - top) / scaleY, h), clip((x1 - left) / scaleX, w), clip((y1 - top) / scaleY, h),
  ];
  return { canvas, toImage };
}

const [model, path] = process.argv.slice(2);
if (path === undefined) {
  console.error("usage: node with_onnxruntime.mjs MODEL.onnx IMAGE.ppm");
  process.exit(1);
}
const bytes = readFileSync(model);
const record = recordOf(bytes);
const session = await InferenceSession.create(bytes);
const { canvas, toImage } = letterbox(readPpm(path), record);
const images = new Tensor("uint8", canvas, [1, ...record.image_size, 3]);
const found = await session.run({ images });
found.scores.data.forEach((score, row) => {
  const box = toImage([...found.boxes_xyxy.data.subarray(4 * row, 4 * row + 4)]);
  if (box[2] <= box[0] || box[3] <= box[1]) return; // no area inside the image
  const name = record.class_names[Number(found.labels.data[row])]; // int64 arrives as BigInt
  console.log(score.toFixed(6), ...box.map((value) => value.toFixed(3)), name);
});
