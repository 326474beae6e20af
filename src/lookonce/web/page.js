// The page: images, video and camera go to the worker, and its detections onto the canvas.

import { select } from "./detect.js";
import { draw, fit, move, watchPointers, zoomAt } from "./view.js";

const $ = (id) => document.getElementById(id);
const MOST_IN_SENTENCE = 10;
const record = await (await fetch("record.json")).json();
const own = { threshold: null, classes: new Set(record.class_names.keys()) }; // null: the record's thresholds
const items = []; // { name, file, found, width, height, frames }; frames of a video: seconds -> found
let shown = null; // { item, bitmap, seconds }
let worker, lastAsked, highlighted;
let turn = 0; // of what is shown: an answer that belongs to an earlier one is dropped
const frameTimes = [];

// The worker answers one message at a time.
function ask(message, transfer = []) {
  const answer = () =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => {
        if (data.progress !== undefined) $("progress").value = data.progress;
        else if (data.error) reject(new Error(data.error));
        else resolve(data);
      };
      worker.onerror = (event) => reject(new Error(event.message || "the worker cannot be started"));
      worker.postMessage(message, transfer);
    });
  lastAsked = lastAsked.catch(() => {}).then(answer);
  return lastAsked;
}

async function start(provider) {
  stop();
  worker?.terminate();
  worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  lastAsked = Promise.resolve();
  setReady(false);
  $("status").textContent = "Loading the detector.";
  const { answer } = await ask({ open: { record, provider } });
  const [height, width] = record.image_size;
  $("status").textContent = "Ready.";
  $("timing").textContent = `${provider}, ${answer.threads} thread${answer.threads === 1 ? "" : "s"}, network input ${width} x ${height} pixels`;
  setReady(true);
}

function setReady(isReady) {
  $("progress").hidden = isReady;
  $("files").disabled = !isReady;
  $("camera").disabled = !isReady || !navigator.mediaDevices?.getUserMedia;
}

// Shows an error, and keeps the page usable.
function attempt(work) {
  return async (...given) => {
    try {
      $("error").textContent = "";
      await work(...given);
    } catch (error) {
      $("error").textContent = error.message;
    }
  };
}

async function decode(file) {
  try {
    return await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    throw new Error(`${file.name}: not an image that this browser reads; expected JPEG, PNG, WebP, GIF or BMP`);
  }
}

// Detects in a bitmap; returns the answer and the bitmap, which has been in the worker meanwhile.
async function detect(item, bitmap) {
  const { answer, bitmap: back } = await ask({ bitmap }, [bitmap]);
  Object.assign(item, { found: answer.found, width: back.width, height: back.height, milliseconds: answer.milliseconds });
  return back;
}

async function add(files) {
  if ($("files").disabled || files.length === 0) return;
  const first = items.length;
  for (const file of files) items.push({ name: file.name, file, isVideo: file.type.startsWith("video/") });
  await show(first);
  const failed = [];
  for (const item of items.slice(first + 1)) {
    if (item.isVideo || item.found) continue;
    try {
      (await detect(item, await decode(item.file))).close();
    } catch (error) {
      failed.push(error.message);
    }
  }
  if (failed.length) throw new Error(failed.join(". "));
}

async function show(index) {
  stop();
  const mine = turn;
  const item = items[index];
  shown = null;
  updatePager(index);
  try {
    if (item.isVideo) return await playFile(item);
    let bitmap = await decode(item.file);
    if (!item.found) bitmap = await detect(item, bitmap);
    if (mine !== turn) return;
    shown = { item, bitmap };
  } catch (error) {
    if (mine === turn) clear();
    throw error;
  }
  fit();
  update();
  $("status").textContent = sentence(); // a video would speak without end
}

// Nothing of the image before stays beside the error of one that cannot be shown.
function clear() {
  stop();
  $("canvas").width = $("canvas").width;
  $("canvas").setAttribute("aria-label", "No image");
  $("count").textContent = "Detections";
  $("detections").replaceChildren();
  $("status").textContent = $("timing").textContent = "";
  update();
}

function stop() {
  ++turn;
  const video = $("video");
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.pause();
  video.srcObject = null;
  if (video.src) URL.revokeObjectURL(video.src);
  video.removeAttribute("src");
  $("player").hidden = $("stop").hidden = true;
}

async function playFile(item) {
  item.frames = new Map();
  $("video").src = URL.createObjectURL(item.file);
  $("player").hidden = false;
  await follow(item);
}

async function film() {
  const stream = await navigator.mediaDevices.getUserMedia({
    video: { facingMode: "environment", width: { ideal: 1280 } },
  });
  stop();
  updatePager(-1);
  $("video").srcObject = stream;
  $("stop").hidden = false;
  await follow({ name: "camera" });
}

// Detects in the newest frame as often as the network can, and shows each frame with its own boxes.
async function follow(item) {
  const [video, mine] = [$("video"), turn];
  frameTimes.length = 0;
  $("status").textContent = `${item.name} is playing.`;
  try {
    await video.play();
  } catch (error) {
    if (mine === turn) throw new Error(`${item.name}: this browser cannot play it (${error.message})`);
  }
  for (let isFirst = true; mine === turn; isFirst = false) {
    const seconds = await nextFrame(video);
    if (mine !== turn) return;
    const bitmap = await detect(item, await createImageBitmap(video));
    if (mine !== turn) return;
    item.frames?.set(seconds, item.found);
    shown?.bitmap.close();
    shown = { item, bitmap, seconds };
    if (isFirst) fit();
    update();
  }
}

function nextFrame(video) {
  return new Promise((resolve) => {
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback((_, { mediaTime }) => resolve(mediaTime));
    else requestAnimationFrame(() => resolve(video.currentTime));
  });
}

const visible = (found) => select(found, own.threshold, own.classes, record);
const nameOf = ({ label, score }) => `${record.class_names[label]} ${score.toFixed(2)}`;

function sentence() {
  const all = visible(shown.item.found);
  const more = all.length > MOST_IN_SENTENCE ? ` and ${all.length - MOST_IN_SENTENCE} more` : "";
  return `${shown.item.name}: ${all.slice(0, MOST_IN_SENTENCE).map(nameOf).join(", ") || "no detections"}${more}`;
}

// Everything that depends on the image, its detections or the filters. The network does not run again.
function update() {
  const { per_class_score, score } = record.thresholds;
  const isOfClasses = own.threshold === null && Object.keys(per_class_score).length > 0;
  $("threshold-value").textContent = isOfClasses ? "by class" : (own.threshold ?? score).toFixed(2);
  $("hint").hidden = shown !== null;
  $("download").disabled = !shown;
  if (!shown) return;
  const all = visible(shown.item.found);
  paint(all);
  $("canvas").setAttribute("aria-label", sentence());
  $("count").textContent = `${all.length} detection${all.length === 1 ? "" : "s"}`;
  if (!$("detections").contains(document.activeElement)) $("detections").replaceChildren(...all.map(rowOf));
  showTiming();
}

const paint = (all = visible(shown.item.found)) => draw($("canvas"), shown.bitmap, all, record, highlighted);

function rowOf(one) {
  const [row, button, name, score] = ["li", "button", "span", "span"].map((tag) => document.createElement(tag));
  [name.textContent, score.textContent] = nameOf(one).split(/ (?=[^ ]*$)/);
  button.append(swatch(one.label), name, score);
  button.setAttribute("aria-pressed", "false");
  const highlight = (isOn) => {
    highlighted = isOn ? one : undefined;
    button.setAttribute("aria-pressed", isOn);
    if (shown) paint();
  };
  button.onmouseenter = button.onfocus = () => highlight(true);
  button.onmouseleave = button.onblur = () => highlight(false);
  row.append(button);
  return row;
}

function swatch(label) {
  const element = document.createElement("span");
  element.className = "swatch";
  element.style.background = record.colors[label];
  return element;
}

function showTiming() {
  const { prepare, network } = shown.item.milliseconds ?? {};
  if (prepare === undefined) return;
  const live = shown.seconds !== undefined;
  if (live) frameTimes.push(performance.now());
  if (frameTimes.length > 20) frameTimes.shift();
  const rate = (1000 * (frameTimes.length - 1)) / (frameTimes.at(-1) - frameTimes[0]);
  const perSecond = live && frameTimes.length > 1 ? `, ${rate.toFixed(1)} frames/s` : "";
  const size = `${shown.item.width} x ${shown.item.height} pixels`;
  $("timing").textContent = `${size}: prepared in ${prepare.toFixed(0)} ms, detected in ${network.toFixed(0)} ms${perSecond}`;
  if (!live || $("player").hidden) return;
  const video = $("video");
  [$("seek").max, $("seek").value] = [video.duration, video.currentTime];
  $("time").textContent = `${video.currentTime.toFixed(1)} / ${video.duration.toFixed(1)} s`;
  $("play").textContent = video.paused ? "Play" : "Pause";
}

function updatePager(index) {
  $("pager").hidden = items.length < 2;
  $("pager").dataset.index = index;
  $("place").textContent = index < 0 ? "" : `${index + 1} of ${items.length}: ${items[index].name}`;
}

const page = attempt((step) => {
  const index = Number($("pager").dataset.index ?? -1) + step;
  if (index >= 0 && index < items.length) return show(index);
});

// The layout of `lookonce predict`'s detections.json.
function download() {
  const rows = (found) =>
    visible(found).map(({ label, score, box }) => ({ class: record.class_names[label], label, score, box_xyxy: box }));
  const entry = (item, place, found, clip = {}) => ({
    ...{ file: item.name, image_id: place + 1, ...clip, width: item.width, height: item.height },
    detections: rows(found),
  });
  const all = items.includes(shown.item) ? items.filter(({ found }) => found) : [shown.item];
  const images = all.flatMap((item, place) =>
    item.frames
      ? [...item.frames].sort(([a], [b]) => a - b).map(([seconds, found]) => entry(item, place, found, { seconds }))
      : [entry(item, place, item.found)],
  );
  const link = document.createElement("a");
  const text = JSON.stringify({ class_names: record.class_names, images }, null, 1);
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = "detections.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function togglePlay() {
  const video = $("video");
  if ($("player").hidden) return;
  if (video.paused) video.play();
  else video.pause();
  $("play").textContent = video.paused ? "Play" : "Pause";
}

function zoom(factor) {
  const { width, height } = $("canvas").getBoundingClientRect();
  zoomAt($("canvas"), shown?.bitmap, factor, width / 2, height / 2);
  if (shown) paint();
}

function fitAgain() {
  fit();
  if (shown) paint();
}

const KEYS = { "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: fitAgain, " ": togglePlay };
const ARROWS = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (KEYS[event.key]) KEYS[event.key]();
  else if (!ARROWS[event.key]) return;
  else if (shown && $("canvas").classList.contains("zoomed")) {
    move($("canvas"), shown.bitmap, ...ARROWS[event.key]);
    paint();
  } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") page(event.key === "ArrowLeft" ? -1 : 1);
  else return;
  event.preventDefault();
}

function setClasses(labels) {
  own.classes = new Set(labels);
  for (const box of document.querySelectorAll("#classes input")) box.checked = own.classes.has(Number(box.value));
  update();
}

function makeClasses() {
  $("classes").append(
    ...record.class_names.map((name, label) => {
      const [line, box] = ["label", "input"].map((tag) => document.createElement(tag));
      Object.assign(box, { type: "checkbox", checked: true, value: label });
      box.onchange = () => {
        own.classes[box.checked ? "add" : "delete"](label);
        update();
      };
      line.append(box, swatch(label), name);
      return line;
    }),
  );
  $("classes-all").onclick = () => setClasses(record.class_names.keys());
  $("classes-none").onclick = () => setClasses([]);
}

function setThreshold(value) {
  own.threshold = value;
  $("threshold").value = value ?? record.thresholds.score;
  update();
}

function makeProviders() {
  const names = { wasm: "CPU (WebAssembly)", webgpu: "GPU (WebGPU)" };
  $("provider").append(...Object.entries(names).map(([value, text]) => new Option(text, value)));
  $("processor").hidden = !navigator.gpu;
  $("provider").onchange = attempt(async () => {
    if ($("provider").value === "webgpu" && !(await navigator.gpu.requestAdapter())) {
      $("provider").value = "wasm";
      throw new Error("GPU (WebGPU): this browser has no adapter for it; expected CPU (WebAssembly)");
    }
    for (const item of items) delete item.found;
    await start($("provider").value);
    if (items.length) await show(Math.max(Number($("pager").dataset.index), 0));
  });
}

function watchDrops() {
  addEventListener("dragover", (event) => {
    event.preventDefault();
    $("view").classList.add("over");
  });
  addEventListener("dragleave", () => $("view").classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("view").classList.remove("over");
    attempt(add)([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => attempt(add)([...event.clipboardData.files]));
}

document.title = $("title").textContent = record.title;
makeClasses();
makeProviders();
watchDrops();
watchPointers($("canvas"), () => shown?.bitmap, () => paint());
setThreshold(null);
$("files").onchange = attempt(async ({ target }) => {
  const files = [...target.files];
  target.value = ""; // the same file can be chosen again
  await add(files);
});
$("camera").onclick = attempt(film);
$("stop").onclick = () => {
  stop();
  $("status").textContent = "Stopped.";
};
$("threshold").oninput = ({ target }) => setThreshold(Number(target.value));
$("threshold-reset").onclick = () => setThreshold(null);
$("download").onclick = download;
$("play").onclick = togglePlay;
$("seek").oninput = ({ target }) => ($("video").currentTime = Number(target.value));
$("previous").onclick = () => page(-1);
$("next").onclick = () => page(1);
$("zoom-in").onclick = () => zoom(1.25);
$("zoom-out").onclick = () => zoom(0.8);
$("zoom-fit").onclick = $("canvas").ondblclick = fitAgain;
$("canvas").onkeydown = onKey;
new ResizeObserver(() => shown && paint()).observe($("view"));
await attempt(start)("wasm");
