// The page: its state, the loop that asks for frames, keys.

import * as api from "./api.js";
import {Controls} from "./controls.js";
import {Curves, drawMap, drawPoints, takeColors} from "./draw.js";
import {Network} from "./network.js";

const $ = (id) => document.getElementById(id);
// Seconds of training for each frame: as many as leave 30 frames a second, within these
const LEAST = 0.004, MOST = 0.025, FRAME = 1000 / 32;
let share = MOST;

let session = null, setup = null, choices = null, featureMaps = null;
let playing = false, looping = false, frame = null, parts = null, shown = null, colors = null;
let busy = Promise.resolve();  // requests come one after the other
const marks = [];  // [time, epoch, step] of the last second
let controls = null, network = null, curves = null;

// ---- messages ----

function tell(text, wrong = false) {
  $("message").textContent = text;
  $("message").classList.toggle("wrong", wrong);
}

// One request after the other; what goes wrong is told.
function queued(work) {
  const next = busy.then(async () => {
    try {
      return await work();
    } catch (error) {
      if (error instanceof api.Gone) return reopen();
      stop();
      tell(error.message, true);
      return null;
    }
  });
  busy = next;
  return next;
}

// ---- settings ----

function query(changes = {}) {
  const found = new URLSearchParams(setup?.query ?? "");
  for (const [name, value] of Object.entries(changes)) {
    if (value === "") found.delete(name);
    else found.set(name, value);
  }
  // no layers at all is something to say
  if (changes.layers === "") found.set("layers", "");
  return found.toString();
}

async function take(answer, note = "") {
  setup = answer;
  history.replaceState(null, "", `#${setup.query}`);
  tell(note || (setup.left_out ? `${setup.left_out} rows of the file have no value in these ` +
    "columns and are left out." : ""));
  controls.show(setup);
  network.build(setup, choices, featureMaps);
  await refresh();
}

async function refresh() {
  const found = await api.advance(session, {epochs: 0});
  if (!frame || found.epoch === 0 || found.epoch < frame.epoch) {
    curves.clear();
    marks.length = 0;
  }
  draw(found);
}

const change = (changes) => queued(async () => {
  try {
    await take(await api.change(session, query(changes)));
  } catch (error) {
    controls.show(setup);  // as it was
    throw error;
  }
});

async function begin(text) {
  const csv = sessionStorage.getItem("csv");
  const answer = await api.open(text);
  session = answer.session;
  featureMaps = answer.feature_maps.map((map) => Uint8Array.from(map));
  const wanted = new URLSearchParams(text).get("data") === "csv";
  if (wanted && csv !== null) await take(await api.sendCsv(session, text, csv));
  else await take(answer.setup, answer.note ?? "");
}

async function reopen() {
  await begin(setup.query);
  tell("The program had let go of this network: it begins anew.");
  return null;
}

// ---- frames ----

function draw(found) {
  frame = found;
  parts = api.unpack(found, setup.sizes);
  curves.add(found.epoch, found.loss[0], found.loss[1]);
  const now = performance.now();
  marks.push([now, found.epoch, found.step]);
  while (marks.length > 2 && now - marks[0][0] > 1000) marks.shift();
  if (found.diverged) {
    stop();
    tell("The loss has left the finite numbers; these are the last weights before. A smaller " +
      "learning rate helps.", true);
  }
  paint();
}

const percent = (share) => share === null ? "" : `${(100 * share).toFixed(1)} %`;
const number = (value) => value === null ? "not finite" : value !== 0 && Math.abs(value) < 1e-3 ?
  value.toExponential(1) : value.toFixed(4);

function paint() {
  if (!parts) return;
  network.draw(parts, colors, thinned(parts.output));
  const map = $("map");
  let bytes = parts.output, name = "output";
  if (shown?.feature !== undefined) {
    bytes = featureMaps[shown.feature];
    name = `input ${choices.features[shown.feature]}`;
  } else if (shown && parts.maps[shown.layer]?.[shown.unit]) {
    bytes = parts.maps[shown.layer][shown.unit];
    name = `layer ${shown.layer + 1}, unit ${shown.unit + 1}`;
  }
  drawMap(map, bytes, $("discrete").checked);
  drawPoints(map, setup, $("show-train").checked, $("show-test").checked);
  $("shown").textContent = name;
  curves.draw();
  $("epoch").textContent = frame.epoch.toLocaleString("en");
  $("train-loss").textContent = number(frame.loss[0]);
  $("test-loss").textContent = number(frame.loss[1]);
  $("train-right").textContent = percent(frame.accuracy[0]);
  $("test-right").textContent = percent(frame.accuracy[1]);
  const [first, last] = [marks[0], marks[marks.length - 1]];
  const seconds = (last[0] - first[0]) / 1000;
  const rate = (i) => playing && seconds > 0 ?
    Math.round((last[i] - first[i]) / seconds).toLocaleString("en") : "–";
  $("epochs-second").textContent = rate(1);
  $("steps-second").textContent = rate(2);
  document.body.dataset.frames = Number(document.body.dataset.frames ?? 0) + 1;
}

// A map of 100 by 100 as one of 32 by 32.
function thinned(bytes) {
  const found = new Uint8Array(api.UNIT * api.UNIT), ratio = api.OUTPUT / api.UNIT;
  for (let i = 0; i < api.UNIT; i++) for (let j = 0; j < api.UNIT; j++)
    found[i * api.UNIT + j] = bytes[Math.floor((i + 0.5) * ratio) * api.OUTPUT
      + Math.floor((j + 0.5) * ratio)];
  return found;
}

// ---- playing ----

const screen = () => new Promise(requestAnimationFrame);

function amount() {
  const speed = $("speed").value;
  return speed === "full" ? {seconds: share} : {epochs: Number(speed)};
}

// A frame with the setup that it belongs to: others may have been asked for meanwhile.
const ask = () => queued(async () => {
  const of = setup;
  return {of, found: await api.advance(session, amount())};
});

function drawIfPresent(answer) {
  if (answer && answer.of === setup) draw(answer.found);
}

// While one frame is drawn the next one is made.
async function loop() {
  if (looping) return;
  looping = true;
  let next = ask(), before = performance.now();
  while (playing) {
    const answer = await next, now = performance.now();
    share = Math.min(MOST, Math.max(LEAST, share * (now - before > FRAME ? 0.9 : 1.1)));
    before = now;
    if (playing) {
      next = ask();
      await screen();
    }
    drawIfPresent(answer);
  }
  drawIfPresent(await next);  // the epochs that were under way
  looping = false;
  if (playing) loop();
  else paint();
}

function play() {
  if (!session || playing) return;
  playing = true;
  marks.length = 0;
  tell("");
  $("play").textContent = "❚❚ Pause";
  $("play").setAttribute("aria-pressed", "true");
  loop();
}

function stop() {
  playing = false;
  $("play").textContent = "▶ Play";
  $("play").setAttribute("aria-pressed", "false");
}

const toggle = () => playing ? stop() : play();

function step() {
  stop();
  return queued(async () => draw(await api.advance(session, {epochs: 1})));
}

function reset() {
  stop();
  return queued(async () => take(await api.reset(session)));
}

// ---- the rest of the page ----

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  colors = takeColors();
  controls?.recolor();
  if (setup) {
    network.build(setup, choices, featureMaps);
    paint();
  }
}

async function showCode() {
  const text = await queued(() => api.script(session));
  if (text === null) return;
  $("script").textContent = text;
  $("code").showModal();
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = Object.assign(document.createElement("textarea"), {value: text});
    button.after(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const before = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = before; }, 1200);
}

async function loadCsv(file) {
  if (file.size > 2 << 20) {
    tell(`${file.name} is larger than 2 MiB.`, true);
    return;
  }
  const body = await file.arrayBuffer();
  await queued(async () => {
    stop();
    const answer = await api.sendCsv(session, query({data: "csv", x: "", y: "", target: "",
      loss: ""}), body);
    try {
      sessionStorage.setItem("csv", new TextDecoder().decode(body));
    } catch { /* too large to be kept: it has to be loaded again after a reload */ }
    await take(answer);
  });
  $("csv").value = "";
}

function listen() {
  $("play").addEventListener("click", toggle);
  $("step").addEventListener("click", step);
  $("reset").addEventListener("click", reset);
  $("show-code").addEventListener("click", showCode);
  $("close-code").addEventListener("click", () => $("code").close());
  $("copy-code").addEventListener("click", () => copy($("script").textContent, $("copy-code")));
  $("copy-link").addEventListener("click", () => copy(location.href, $("copy-link")));
  $("theme").addEventListener("click", () => {
    const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    localStorage.setItem("theme", name);
    setTheme(name);
  });
  for (const id of ["show-train", "show-test", "discrete"])
    $(id).addEventListener("change", paint);
  $("csv").addEventListener("change", () => { if ($("csv").files[0]) loadCsv($("csv").files[0]); });
  $("new-points").addEventListener("click", () => change({draw: setup.settings.draw + 1}));
  $("new-weights").addEventListener("click", () => change({seed: setup.settings.seed + 1}));
  $("more-layers").addEventListener("click", () =>
    change({layers: [...setup.settings.layers, 2].join(",")}));
  $("fewer-layers").addEventListener("click", () =>
    change({layers: setup.settings.layers.slice(0, -1).join(",")}));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("code").open) return;
    if (event.target.closest("input, select, textarea")) return;
    if (event.key === " " && !event.target.closest("button")) {
      event.preventDefault();
      toggle();
    } else if (event.key === "s") step();
    else if (event.key === "r") reset();
  });
  addEventListener("hashchange", () => {
    const text = location.hash.slice(1);
    if (setup && text !== setup.query) queued(async () => take(await api.change(session, text)));
  });
  addEventListener("pagehide", () => { if (session) api.close(session); });
  addEventListener("pageshow", (event) => { if (event.persisted) queued(reopen); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => {
    if (!localStorage.getItem("theme")) setTheme(event.matches ? "dark" : "light");
  });
}

async function start() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  setTheme(localStorage.getItem("theme") ?? (dark ? "dark" : "light"));
  choices = await api.choices();
  controls = new Controls(choices, change);
  controls.recolor();
  network = new Network($("units"), $("lines"), $("hint"), change, (what) => {
    shown = what;
    if (!playing) paint();
  });
  curves = new Curves($("curves"));
  listen();
  try {
    await begin(location.hash.slice(1));
  } catch (error) {
    await begin("");
    tell(`${error.message}. The settings are the usual ones.`, true);
  }
  document.body.dataset.ready = "yes";
}

start().catch((error) => tell(error.message, true));
