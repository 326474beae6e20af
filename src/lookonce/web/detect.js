// What an exported file leaves to its client, as docs/export.md defines it: letterbox, and boxes back in the image.

function roundHalvesToEven(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

// The two source positions of each target position along one side, and their weights in 1/2048.
function taps(source, target, clampsWeight) {
  const scale = 1 / (target / source);
  const last = source - 1;
  const made = { first: new Int32Array(target), second: new Int32Array(target), weights: new Int32Array(2 * target) };
  for (let position = 0; position < target; ++position) {
    const exact = Math.fround((position + 0.5) * scale - 0.5);
    const first = Math.floor(exact);
    let part = Math.fround(exact - first);
    if (clampsWeight && (first < 0 || first >= last)) part = 0;
    made.first[position] = Math.min(Math.max(first, 0), last);
    made.second[position] = Math.min(Math.max(first + 1, 0), last);
    made.weights[2 * position] = roundHalvesToEven(Math.fround(1 - part) * 2048);
    made.weights[2 * position + 1] = roundHalvesToEven(part * 2048);
  }
  return made;
}

// RGBA bytes -> RGB bytes (toHeight, toWidth, 3); bilinear, as OpenCV's INTER_LINEAR computes it for bytes.
function resize({ width, height, data }, toWidth, toHeight) {
  const result = new Uint8Array(toWidth * toHeight * 3);
  const isSame = width === toWidth && height === toHeight;
  const isHalf = width === 2 * toWidth && height === 2 * toHeight;
  const [columns, rows] = [taps(width, toWidth, true), taps(height, toHeight, false)];
  for (let y = 0, at = 0; y < toHeight; ++y) {
    const [upper, lower] = [rows.first[y] * width, rows.second[y] * width];
    const [upperWeight, lowerWeight] = [rows.weights[2 * y], rows.weights[2 * y + 1]];
    for (let x = 0; x < toWidth; ++x) {
      const [left, right] = [columns.first[x], columns.second[x]];
      const [leftWeight, rightWeight] = [columns.weights[2 * x], columns.weights[2 * x + 1]];
      for (let channel = 0; channel < 3; ++channel, ++at) {
        const a = data[4 * (upper + left) + channel];
        if (isSame) {
          result[at] = a;
          continue;
        }
        const b = data[4 * (upper + right) + channel];
        const c = data[4 * (lower + left) + channel];
        const d = data[4 * (lower + right) + channel];
        const above = (a * leftWeight + b * rightWeight) >> 4;
        const below = (c * leftWeight + d * rightWeight) >> 4;
        result[at] = isHalf
          ? (a + b + c + d + 2) >> 2
          : (((upperWeight * above) >> 16) + ((lowerWeight * below) >> 16) + 2) >> 2;
      }
    }
  }
  return result;
}

// RGBA image { width, height, data } -> the network input, RGB bytes (H, W, 3), and a function from a box there, left,
// top, right, bottom in pixels, to a box in the image, clipped to it.
export function letterbox(image, { image_size: [H, W], preprocessing }) {
  const { width: w, height: h } = image;
  let [fittedWidth, fittedHeight] = [W, H];
  if (preprocessing.resize === "letterbox") {
    if (W * h <= H * w) fittedHeight = Math.max(1, Math.floor((2 * h * W + w) / (2 * w))); // halves up
    else fittedWidth = Math.max(1, Math.floor((2 * w * H + h) / (2 * h)));
  }
  const [left, top] = [Math.floor((W - fittedWidth) / 2), Math.floor((H - fittedHeight) / 2)];
  const input = new Uint8Array(H * W * 3).fill(preprocessing.pad_value);
  const resized = resize(image, fittedWidth, fittedHeight);
  for (let y = 0; y < fittedHeight; ++y) {
    input.set(resized.subarray(y * fittedWidth * 3, (y + 1) * fittedWidth * 3), ((top + y) * W + left) * 3);
  }
  const [scaleX, scaleY] = [fittedWidth / w, fittedHeight / h]; // rounding makes them differ
  const clip = (value, limit) => Math.min(Math.max(value, 0), limit);
  const toImage = ([x0, y0, x1, y1]) => [
    clip((x0 - left) / scaleX, w),
    clip((y0 - top) / scaleY, h),
    clip((x1 - left) / scaleX, w),
    clip((y1 - top) / scaleY, h),
  ];
  return { input, toImage };
}

const areaOf = ([left, top, right, bottom]) => Math.max(right - left, 0) * Math.max(bottom - top, 0);

function isOverlapping(one, other, iouThreshold) {
  const [left, top] = [Math.max(one[0], other[0]), Math.max(one[1], other[1])];
  const both = areaOf([left, top, Math.min(one[2], other[2]), Math.min(one[3], other[3])]);
  return both > iouThreshold * (areaOf(one) + areaOf(other) - both);
}

// The detections of one run that are shown, highest score first. found: all { label, score, input, box } over the
// lowest threshold, before the limit on their number, highest score first; input: the box in the network input.
// threshold: of every class, or null for the record's own. classes: the labels that are shown, a Set.
export function select(found, threshold, classes, { class_names, thresholds }) {
  const own = class_names.map((name) => Math.fround(threshold ?? thresholds.per_class_score[name] ?? thresholds.score));
  const kept = [];
  for (const one of found) {
    if (one.score <= own[one.label]) continue;
    // Class-agnostic NMS has to follow the thresholds of the classes: runtimes/detector.py does so too.
    if (thresholds.agnostic && kept.some(({ input }) => isOverlapping(input, one.input, thresholds.iou))) continue;
    kept.push(one);
  }
  return kept
    .filter(({ label }) => classes.has(label))
    .slice(0, thresholds.max_detections)
    .filter(({ box }) => areaOf(box) > 0);
}
