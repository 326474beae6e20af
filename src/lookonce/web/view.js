// The canvas: an image that is fitted, zoomed and moved, with boxes and names of constant size on it.

const LARGEST_ZOOM = 16;
const TAG = 19; // height of a tag, CSS pixels
const WIDEST = 0.6; // share of the canvas that a class name takes at most
const view = { zoom: 1, x: 0, y: 0 }; // zoom 1: the whole image; x, y: from the centre, CSS pixels

// CSS pixels of one image pixel, and of the image's left top corner.
function placed(canvas, image) {
  const { width, height } = canvas.getBoundingClientRect();
  const scale = Math.min(width / image.width, height / image.height) * view.zoom;
  const side = (length, shown, offset) => {
    const limit = Math.max((length * scale - shown) / 2, 0);
    return (shown - length * scale) / 2 + Math.min(Math.max(offset, -limit), limit);
  };
  return { scale, left: side(image.width, width, view.x), top: side(image.height, height, view.y), width, height };
}

export function fit() {
  Object.assign(view, { zoom: 1, x: 0, y: 0 });
}

export function move(canvas, image, x, y) {
  const { scale, left, top, width, height } = placed(canvas, image);
  // From where the image is, which the edges may have held back.
  view.x = left - (width - image.width * scale) / 2 + x;
  view.y = top - (height - image.height * scale) / 2 + y;
}

// Zooms by a factor; the image's point under (x, y), CSS pixels of the canvas, stays there.
export function zoomAt(canvas, image, factor, x, y) {
  if (!image) return;
  const before = placed(canvas, image);
  view.zoom = Math.min(Math.max(view.zoom * factor, 1), LARGEST_ZOOM);
  const after = placed(canvas, image);
  const grown = after.scale / before.scale;
  view.x = x - (x - before.left) * grown - (after.width - image.width * after.scale) / 2;
  view.y = y - (y - before.top) * grown - (after.height - image.height * after.scale) / 2;
}

// One pointer moves the zoomed image, two zoom it. imageOf(): the image that is shown, or undefined.
export function watchPointers(canvas, imageOf, repaint) {
  const pointers = new Map();
  const at = ({ clientX, clientY }) => {
    const { left, top } = canvas.getBoundingClientRect();
    return [clientX - left, clientY - top];
  };
  const middle = () => [0, 1].map((axis) => [...pointers.values()].reduce((sum, p) => sum + p[axis], 0) / pointers.size);
  const apart = () => (pointers.size < 2 ? 0 : Math.hypot(...[0, 1].map((axis) => [...pointers.values()].reduce((a, b) => a[axis] - b[axis]))));
  canvas.onpointerdown = (event) => {
    pointers.set(event.pointerId, at(event));
    canvas.setPointerCapture(event.pointerId);
  };
  canvas.onpointerup = canvas.onpointercancel = ({ pointerId }) => pointers.delete(pointerId);
  canvas.onpointermove = (event) => {
    if (!imageOf() || !pointers.has(event.pointerId)) return;
    const [[x, y], distance] = [middle(), apart()];
    pointers.set(event.pointerId, at(event));
    const [toX, toY] = middle();
    move(canvas, imageOf(), toX - x, toY - y);
    if (distance) zoomAt(canvas, imageOf(), apart() / distance, toX, toY);
    repaint();
  };
  canvas.addEventListener("wheel", (event) => {
    if (!imageOf() || !(event.ctrlKey || canvas === document.activeElement)) return; // else the page scrolls
    event.preventDefault();
    zoomAt(canvas, imageOf(), Math.exp(-event.deltaY / 400), ...at(event));
    repaint();
  }, { passive: false });
}

// The image and its detections, the best on top. highlighted: the one with a thick line, or undefined.
export function draw(canvas, image, detections, { class_names, colors, text_colors }, highlighted) {
  const { scale, left, top, width, height } = placed(canvas, image);
  const ratio = devicePixelRatio;
  [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  canvas.classList.toggle("zoomed", view.zoom > 1);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.imageSmoothingEnabled = scale < 4; // pixels can be seen when zoomed in
  context.drawImage(image, left, top, image.width * scale, image.height * scale);
  context.font = "600 13px system-ui, sans-serif";
  context.textBaseline = "middle";
  const boxes = detections.map((one) => ({ one, edges: one.box.map((at, edge) => (edge % 2 ? top : left) + at * scale) }));
  for (const { one, edges: [x0, y0, x1, y1] } of boxes.toReversed()) {
    context.strokeStyle = colors[one.label];
    context.lineWidth = one === highlighted ? 5 : 2;
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  }
  const taken = [];
  for (const { one, edges } of boxes) {
    const text = `${fitted(context, class_names[one.label], WIDEST * width)} ${one.score.toFixed(2)}`;
    const wide = context.measureText(text).width + 8;
    const place = freePlace(edges, wide, taken, width, height);
    if (!place) continue; // the list beside the image has it
    taken.push(place);
    const { x, y } = place;
    context.fillStyle = colors[one.label];
    context.fillRect(x, y, wide, TAG);
    context.fillStyle = text_colors[one.label];
    context.fillText(text, x + 4, y + 10);
  }
}

// The name, or as much of its start as fits.
function fitted(context, name, most) {
  let shown = name;
  while (name && context.measureText(shown).width > most) shown = `${(name = name.slice(0, -1))}...`;
  return shown;
}

// Above the box, below it or inside it, left- or right-aligned: the first place that covers no other tag; else undefined.
function freePlace([x0, y0, x1, y1], wide, taken, width, height) {
  const limited = (value, most) => Math.max(Math.min(value, most), 0);
  return [x0 - 1, x1 + 1 - wide]
    .flatMap((x) => [y0 - TAG, y1, y0, y1 - TAG].map((y) => ({ x: limited(x, width - wide), y: limited(y, height - TAG), wide })))
    .find(({ x, y }) => taken.every((other) => x >= other.x + other.wide || other.x >= x + wide || Math.abs(y - other.y) >= TAG));
}
