"use strict";
// One page over the server's clusters. Text from outside (names of files and cameras) only ever goes through
// textContent; of a hundred thousand crops only those in sight have elements, and only these ask for pictures.

const $ = (id) => document.getElementById(id);
const UNASSIGNED = -1, NOISE = -2;
const ID = 0, SIZE = 1, DOUBT = 2, CAMERAS = 3, DONE = 4, SAMPLES = 5;  // of a cluster's row

const state = {
  revision: 0, run: "", cameras: [], rows: new Map(), order: [], current: null, back: [],
  crops: [], doubt: [], camera: [], half: [], split: 0, focus: 0, anchor: 0, selected: new Set(),
  near: [], chosen: 0, busy: false,
};

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function plural(count, one, many = one + "s") {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

// ------------------------------------------------------------------------------------------------- the server

async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer: is unreid review still running? Nothing that was done is lost.");
  }
  const value = await answer.json();
  if (!answer.ok) {
    const error = new Error(value.error);
    error.stale = answer.status === 409;
    throw error;
  }
  return value;
}

let silence;
function say(text, bad = false) {
  const message = $("message");
  message.textContent = text;
  message.classList.toggle("bad", bad);
  message.hidden = false;
  clearTimeout(silence);
  silence = setTimeout(() => { message.hidden = true; }, bad ? 8000 : 2500);
}

function picture(crop, size = "thumb") {
  return `/${size}/${crop}?run=${state.run}`;
}

// ---------------------------------------------------------------------------------------------- virtual lists

// A scroller whose items exist only while they are in sight. Items are laid out in rows of `columns()`.
class VirtualList {
  constructor(scroller, { height, width, gap, draw }) {
    Object.assign(this, { scroller, height, width, gap, draw });
    this.spacer = scroller.querySelector(".spacer");
    this.count = 0;
    this.columns = 1;
    this.drawn = new Map();
    this.frame = 0;
    scroller.addEventListener("scroll", () => this.schedule(), { passive: true });
    new ResizeObserver(() => this.layout()).observe(scroller);
  }

  show(count, { top = false } = {}) {
    this.count = count;
    this.clear();
    if (top) this.scroller.scrollTop = 0;
    this.layout();
  }

  clear() {
    for (const element of this.drawn.values()) element.remove();
    this.drawn.clear();
  }

  layout() {
    // Sizes are asked for here only: a question while scrolling would make the browser lay the page out each time.
    this.view = this.scroller.clientHeight;
    this.tile = this.width ? this.width() : 0;
    const columns = this.tile ? Math.max(1, Math.floor((this.scroller.clientWidth - this.gap) / (this.tile + this.gap))) : 1;
    if (columns !== this.columns) this.clear();
    this.columns = columns;
    this.spacer.style.height = `${Math.ceil(this.count / columns) * (this.height + this.gap) + this.gap}px`;
    this.schedule();
  }

  schedule() {
    if (!this.frame) this.frame = requestAnimationFrame(() => { this.frame = 0; this.render(); });
  }

  render() {
    const { scroller, gap, columns, view } = this, step = this.height + gap, margin = 2 * step, top = scroller.scrollTop;
    const first = Math.max(0, Math.floor((top - margin) / step)) * columns;
    const last = Math.min(this.count, Math.ceil((top + view + margin) / step) * columns);
    for (const [index, element] of this.drawn) {
      if (index < first || index >= last) {
        for (const image of element.getElementsByTagName("img")) image.removeAttribute("src");  // no longer wanted
        element.remove();
        this.drawn.delete(index);
      }
    }
    const fresh = document.createDocumentFragment();
    for (let index = first; index < last; index++) {
      if (this.drawn.has(index)) continue;
      const element = this.draw(index);
      element.dataset.index = index;
      element.style.top = `${Math.floor(index / columns) * step + gap}px`;
      if (this.width) element.style.left = `${(index % columns) * (this.tile + gap) + gap}px`;
      this.drawn.set(index, element);
      fresh.append(element);
    }
    this.spacer.append(fresh);
  }

  redraw(index) {
    const old = this.drawn.get(index);
    if (!old) return;
    old.remove();
    this.drawn.delete(index);
    this.schedule();
  }

  reveal(index) {
    const step = this.height + this.gap, top = Math.floor(index / this.columns) * step, { scroller, view } = this;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (top + step + this.gap > scroller.scrollTop + view) scroller.scrollTop = top + step + this.gap - view;
    this.render();
  }
}

// Pictures are asked for once scrolling has come to rest for a moment.
let lastScroll = 0;
const waiting = new Set();
document.addEventListener("scroll", () => { lastScroll = performance.now(); }, { capture: true, passive: true });
function load(image, address) {
  image.decoding = "async";
  image.alt = "";
  image.draggable = false;
  image.dataset.address = address;
  if (performance.now() - lastScroll > 80) image.src = address;
  else waiting.add(image);
  return image;
}
setInterval(() => {
  if (!waiting.size || performance.now() - lastScroll < 80) return;
  for (const image of waiting) if (image.isConnected) image.src = image.dataset.address;
  waiting.clear();
}, 40);

function strip(crops, className) {
  const element = make("div", className);
  for (const crop of crops) element.append(load(new Image(), picture(crop)));
  return element;
}

// ----------------------------------------------------------------------------------------------- the three parts

const clusters = new VirtualList($("clusters"), { height: 72, gap: 0, draw: drawCluster });
const members = new VirtualList($("members"), {
  height: 132, gap: 10, draw: drawCrop,
  width: () => parseInt(getComputedStyle(document.documentElement).getPropertyValue("--tile"), 10),
});

function describe(row) {
  return `${plural(row[SIZE], "crop")}, ${plural(row[CAMERAS], "camera")}`;
}

function drawCluster(index) {
  const row = state.rows.get(state.order[index]);
  const element = make("div", "cluster");
  element.setAttribute("role", "option");
  element.setAttribute("aria-selected", row[ID] === state.current);
  element.dataset.id = row[ID];
  const words = make("div", "words");
  words.append(make("b", "", row[ID]), make("span", "meta", describe(row)));
  if (row[DONE]) {
    const done = make("span", "done", "✓");
    done.title = "confirmed";
    words.append(done);
  }
  const meter = make("span", "meter"), filled = make("i");
  meter.title = `doubt ${row[DOUBT].toFixed(2)}`;
  filled.style.width = `${Math.round(100 * Math.min(1, row[DOUBT]))}%`;
  meter.append(filled);
  words.append(meter);
  element.append(words, strip(row[SAMPLES], "strip"));
  return element;
}

function drawCrop(index) {
  const crop = state.crops[index], element = make("div", "crop");
  element.setAttribute("role", "option");
  element.setAttribute("aria-selected", state.selected.has(crop));
  element.id = `crop-${index}`;
  element.classList.toggle("focus", index === state.focus);
  const image = load(new Image(), picture(crop));
  image.addEventListener("error", () => {
    if (image.getAttribute("src")) image.replaceWith(make("div", "none", "cannot be read"));
  });
  element.append(image, make("span", "tag", state.cameras[state.camera[index]]));
  if (state.current >= 0 && state.doubt[index] > 0.1) {
    const odd = make("span", "odd", "?");
    odd.title = "most of its nearest crops are in another cluster";
    element.append(odd);
  }
  if (state.split && state.half[index]) {
    const half = make("span", "half", "½");
    half.title = "in the smaller half, which may be somebody else (H selects it)";
    element.append(half);
  }
  return element;
}

function drawNear() {
  const holder = $("near");
  holder.replaceChildren();
  state.near.forEach(({ row, value }, index) => {
    const element = make("button", "near"), words = make("div", "words");
    element.setAttribute("aria-pressed", index === state.chosen);
    if (index < 9) words.append(make("span", "key", index + 1));
    words.append(make("b", "", row[ID]), make("span", "meta", `${describe(row)}${row[DONE] ? ", confirmed" : ""}`));
    element.title = state.current >= 0 && !state.selected.size ? `doubt ${value.toFixed(2)}` : `${Math.round(100 * value)} % of the nearest crops`;
    element.append(words, strip(row[SAMPLES], "faces"));
    element.addEventListener("click", () => choose(index));
    element.addEventListener("dblclick", () => open(row[ID]));
    holder.append(element);
  });
  if (!state.near.length) holder.append(make("p", "empty", state.current === null ? "" : "No cluster is left that could be."));
  buttons();
}

function drawHead() {
  const clustersCount = state.order.length, done = state.done;
  $("counts").textContent = `${plural(state.total, "crop")}, ${plural(clustersCount, "cluster")}, ${done.toLocaleString("en")} confirmed`;
  $("unassigned").textContent = state.unassigned.toLocaleString("en");
  $("noise").textContent = state.noise.toLocaleString("en");
  for (const button of $("special").children) button.setAttribute("aria-pressed", Number(button.dataset.id) === state.current);
  $("undo").disabled = !state.undo;
  $("redo").disabled = !state.redo;
  $("undo").title = state.undo ? `Undo ${state.undo} (U)` : "Nothing to undo";
  $("redo").title = state.redo ? `Redo ${state.redo} (Y)` : "Nothing to redo";
  let title = "";
  if (state.current === UNASSIGNED) title = `Unassigned: ${plural(state.crops.length, "crop")}`;
  else if (state.current === NOISE) title = `Noise: ${plural(state.crops.length, "crop")}`;
  else if (state.current !== null) title = `Cluster ${state.current}: ${describe(state.rows.get(state.current))}`;
  $("title").textContent = title;
  $("near-title").textContent = state.selected.size ? "Nearest to the selection" : state.current >= 0 ? "Could be the same" : "Nearest to the crop";
  const halves = state.split > 0 ? `could be two: ${state.half.filter(Boolean).length} of them marked ½` : "";
  $("selection").textContent = state.selected.size ? `${state.selected.size.toLocaleString("en")} selected` : halves;
  document.title = `${title ? title.split(":")[0] + " – " : ""}unreid review`;
}

function buttons() {
  const cluster = state.current !== null && state.current >= 0, crop = state.crops.length > 0;
  const possible = {
    merge: cluster && state.near.length, apart: state.near.length && (cluster || crop), confirm: cluster,
    split: crop, move: crop && state.near.length, noise: crop && state.current !== NOISE,
  };
  for (const button of $("actions").querySelectorAll("button")) button.disabled = !possible[button.dataset.act];
}

let told = 0;
async function tellCrop() {
  const crop = state.crops[state.focus], turn = ++told;
  $("members").querySelector(".spacer").setAttribute("aria-activedescendant", `crop-${state.focus}`);
  if (crop === undefined) { $("crop").textContent = ""; return; }
  try {
    const found = await ask(`/api/crop?id=${crop}`);
    if (turn === told) $("crop").textContent = `${state.focus + 1} of ${state.crops.length.toLocaleString("en")}: ${found.name}, camera ${found.camera}`;
  } catch (error) { if (turn === told) $("crop").textContent = error.message; }
}

// ---------------------------------------------------------------------------------------------------- state

function sortRows() {
  state.order = [...state.rows.values()]
    .sort((a, b) => a[DONE] - b[DONE] || b[DOUBT] - a[DOUBT] || b[SIZE] - a[SIZE] || a[ID] - b[ID])
    .map((row) => row[ID]);
  state.done = 0;
  for (const row of state.rows.values()) state.done += row[DONE];
}

function take(summary) {
  state.revision = summary.revision;
  state.total = summary.crops;
  for (const name of ["cameras", "unassigned", "noise", "undo", "redo"]) state[name] = summary[name];
}

async function loadAll() {
  const found = await ask("/api/state");
  state.run = found.run;
  state.rows = new Map(found.rows.map((row) => [row[ID], row]));
  take(found);
  sortRows();
  clusters.show(state.order.length, { top: true });
  const wanted = Number(location.hash.slice(1));
  const there = location.hash && (state.rows.has(wanted) || wanted === UNASSIGNED || wanted === NOISE);
  await open(there ? wanted : state.order.length ? state.order[0] : UNASSIGNED);
}

let opened = 0;
async function open(id) {
  const turn = ++opened;
  const found = await ask(`/api/cluster?id=${id}`);
  if (turn !== opened) return;
  const before = state.order.indexOf(state.current), after = state.order.indexOf(id);
  Object.assign(state, {
    current: id, crops: found.crops, doubt: found.doubt, camera: found.cameras, near: found.neighbours,
    half: found.half, split: found.split,
    focus: 0, anchor: 0, chosen: 0, selected: new Set(),
  });
  history.replaceState(null, "", `#${id}`);
  clusters.redraw(before);
  clusters.redraw(after);
  if (after >= 0) clusters.reveal(after);
  members.show(state.crops.length, { top: true });
  drawHead();
  drawNear();
  tellCrop();
}

function step(by) {
  const place = state.order.indexOf(state.current);
  const next = place < 0 ? 0 : Math.min(state.order.length - 1, Math.max(0, place + by));
  if (state.order.length && state.order[next] !== state.current) return open(state.order[next]);
}

function choose(index) {
  if (index < 0 || index >= state.near.length) return;
  state.chosen = index;
  [...$("near").children].forEach((element, place) => element.setAttribute("aria-pressed", place === index));
  $("near").children[index].scrollIntoView({ block: "nearest", inline: "nearest" });
}

function focus(index, extend = false) {
  if (!state.crops.length) return;
  index = Math.min(state.crops.length - 1, Math.max(0, index));
  const before = state.focus;
  state.focus = index;
  if (extend) {
    const [low, high] = [Math.min(state.anchor, index), Math.max(state.anchor, index)];
    state.selected = new Set(state.crops.slice(low, high + 1));
    selectionChanged();
  } else {
    state.anchor = index;
    members.drawn.get(before)?.classList.remove("focus");
    members.drawn.get(index)?.classList.add("focus");
  }
  members.reveal(index);
  tellCrop();
  if (state.current < 0 && !state.selected.size) suggest();
}

function toggle(index) {
  const crop = state.crops[index];
  if (crop === undefined) return;
  if (!state.selected.delete(crop)) state.selected.add(crop);
  state.anchor = index;
  selectionChanged();
}

function selectionChanged() {
  for (const [index, element] of members.drawn) {
    element.setAttribute("aria-selected", state.selected.has(state.crops[index]));
    element.classList.toggle("focus", index === state.focus);
  }
  drawHead();
  buttons();
  suggest();
}

// Neighbours of what is selected, a moment after the last change of the selection.
let suggestion;
function suggest() {
  clearTimeout(suggestion);
  suggestion = setTimeout(async () => {
    const id = state.current;
    try {
      const found = state.selected.size || id < 0
        ? await ask("/api/neighbours", { crops: meant().slice(0, 2000) })
        : (await ask(`/api/cluster?id=${id}`)).neighbours;
      if (id !== state.current) return;
      state.near = found;
      state.chosen = 0;
      drawNear();
      drawHead();
    } catch { /* what is meant has changed meanwhile; the next change asks again */ }
  }, 120);
}

// The crops that an action is about: those selected, else the one under the frame.
function meant() {
  if (state.selected.size) return [...state.selected];
  return state.crops.length ? [state.crops[state.focus]] : [];
}

async function act(kind) {
  if (state.busy) return;
  const near = state.near[state.chosen]?.row[ID], id = state.current, revision = state.revision;
  const place = state.order.indexOf(id);
  let body;
  if (kind === "merge" && id >= 0 && near !== undefined) body = { into: id, other: near };
  else if (kind === "apart" && id >= 0 && near !== undefined) body = { one: id, other: near };
  else if (kind === "apart" && near !== undefined && state.crops.length) { kind = "refuse"; body = { crops: meant(), cluster: near }; }
  else if (kind === "confirm" && id >= 0) body = { cluster: id, crops: [...state.selected] };
  else if (kind === "split" && state.crops.length) body = { crops: meant() };
  else if (kind === "move" && state.crops.length && near !== undefined) body = { crops: meant(), to: near };
  else if (kind === "noise" && state.crops.length && id !== NOISE) body = { crops: meant() };
  else if (kind === "undo" || kind === "redo") body = {};
  if (!body) { say({ merge: "There is no neighbour to merge with.", move: "There is no neighbour to move to." }[kind] ?? "There is nothing to do that with here."); return; }
  state.busy = true;
  const focused = state.focus;
  try {
    const change = await ask(`/api/${kind}`, { ...body, revision });
    for (const gone of change.gone) state.rows.delete(gone);
    for (const row of change.rows) state.rows.set(row[ID], row);
    take(change);
    sortRows();
    clusters.show(state.order.length);
    let next = id;
    if (kind === "confirm" && !body.crops.length) next = state.order[Math.min(Math.max(place, 0), state.order.length - 1)];
    if (next >= 0 && !state.rows.has(next)) next = state.order[Math.min(Math.max(place, 0), state.order.length - 1)] ?? UNASSIGNED;
    await open(next ?? UNASSIGNED);
    if (next === id && ["split", "move", "noise", "refuse"].includes(kind)) focus(kind === "refuse" ? focused + 1 : focused);
    say({
      merge: "merged", apart: "kept apart", confirm: "confirmed", split: "split off", move: "moved", noise: "marked as noise",
      refuse: "not that one", undo: `undone: ${change.kind}`, redo: `redone: ${change.kind}`,
    }[kind]);
  } catch (error) {
    say(error.message, true);
    if (error.stale) await loadAll().catch(() => {});
  } finally {
    state.busy = false;
  }
}

// ---------------------------------------------------------------------------------------------------- input

function showLarge() {
  const crop = state.crops[state.focus];
  if (crop === undefined) return;
  const image = $("large").querySelector("img");
  image.src = picture(crop, "image");
  image.alt = $("crop").textContent;
  $("large").showModal();
}

function goTo() {
  const answer = prompt("Number of the cluster");
  if (answer === null) return;
  const id = Number(answer);
  if (state.rows.has(id)) return open(id);
  say(`There is no cluster ${answer}.`, true);
}

const KEYS = {
  j: () => step(1), k: () => step(-1), arrowdown: () => step(1), arrowup: () => step(-1),
  arrowleft: (event) => focus(state.focus - 1, event.shiftKey), arrowright: (event) => focus(state.focus + 1, event.shiftKey),
  " ": () => toggle(state.focus), a: () => { state.selected = new Set(state.crops); selectionChanged(); },
  h: () => { state.selected = new Set(state.crops.filter((_, index) => state.half[index])); selectionChanged(); },
  escape: () => { state.selected = new Set(); selectionChanged(); },
  m: () => act("merge"), d: () => act("apart"), c: () => act("confirm"), enter: () => act("confirm"),
  s: () => act("split"), v: () => act("move"), n: () => act("noise"), u: () => act("undo"), y: () => act("redo"),
  o: showLarge, g: goTo, e: () => $("export").click(), "?": () => $("help").showModal(),
  ".": () => choose(state.chosen + 1), ",": () => choose(state.chosen - 1),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const key = event.key.toLowerCase();
  // A button that has the focus is pressed by these keys, as everywhere.
  if ((key === "enter" || key === " ") && document.activeElement?.matches("button, a")) return;
  const work = /^[1-9]$/.test(key) ? () => choose(Number(key) - 1) : Object.hasOwn(KEYS, key) ? KEYS[key] : null;
  if (!work) return;
  event.preventDefault();
  run(() => work(event));
});

async function run(work) {
  try { await work(); } catch (error) { say(error.message, true); }
}

$("clusters").addEventListener("click", (event) => {
  const element = event.target.closest(".cluster");
  if (element) run(() => open(Number(element.dataset.id)));
});
$("special").addEventListener("click", (event) => {
  const element = event.target.closest("button");
  if (element) run(() => open(Number(element.dataset.id)));
});
$("members").addEventListener("click", (event) => {
  const element = event.target.closest(".crop");
  if (!element) return;
  const index = Number(element.dataset.index);
  if (event.shiftKey) focus(index, true);
  else { focus(index); toggle(index); }
});
$("members").addEventListener("dblclick", showLarge);
$("actions").addEventListener("click", (event) => {
  const element = event.target.closest("button");
  if (element) { element.blur(); run(() => act(element.dataset.act)); }
});
for (const kind of ["undo", "redo"]) $(kind).addEventListener("click", () => { $(kind).blur(); run(() => act(kind)); });
$("help-button").addEventListener("click", () => $("help").showModal());

history.replaceState(null, "", location.pathname + location.hash);  // the token stays out of sight
run(loadAll);
