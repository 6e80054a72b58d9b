// Controls of the settings: each changes one setting and shows what the server made of it.

import {drawThumbnail} from "./draw.js";

const NAMES = {binary_cross_entropy: "cross-entropy", focal: "focal",
  squared_error: "squared error", hinge: "hinge", squared_hinge: "squared hinge",
  absolute_error: "absolute error", huber: "Huber", log_cosh: "log cosh", sgd: "SGD",
  momentum: "SGD, momentum", nesterov: "SGD, Nesterov", adam: "Adam", adamw: "AdamW",
  rmsprop: "RMSprop", adagrad: "Adagrad", adadelta: "Adadelta", adamax: "AdaMax", nadam: "Nadam",
  lion: "Lion", muon: "Muon", one_cycle: "one cycle", coslog4: "coslog4",
  leaky_relu: "leaky relu", hard_tanh: "hard tanh", hard_sigmoid: "hard sigmoid"};
const NUMBERS = {
  rate: [0.00001, 0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10],
  horizon: [100, 300, 1000, 2000, 5000, 10000, 30000, 100000],
  l1: [0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10],
  l2: [0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10],
  dropout: [0, 0.05, 0.1, 0.2, 0.3, 0.5],
  batch: [1, 2, 5, 10, 20, 30, 50, 100, 200, 500, 2000],
};
const RANGES = ["noise", "test", "points"];
const TEXTS = {noise: (v) => `${Math.round(v * 100)} %`, test: (v) => `${Math.round(v * 100)} %`,
  points: (v) => String(v)};

const $ = (id) => document.getElementById(id);

export class Controls {
  constructor(choices, changed) {
    this.choices = choices;
    this.changed = changed;
    for (const name of ["activation", "optimizer", "schedule"]) fill($(name), choices[name]);
    for (const name of ["activation", "optimizer", "schedule", "loss", "x", "y", "target",
      ...Object.keys(NUMBERS)])
      $(name).addEventListener("change", () => changed({[name]: $(name).value}));
    for (const name of RANGES) {
      $(name).addEventListener("input", () => {
        $(`${name}-out`).textContent = TEXTS[name](Number($(name).value));
      });
      $(name).addEventListener("change", () => changed({[name]: $(name).value}));
    }
    this.thumbnails = {};
    for (const name of choices.data) {
      if (name === "csv") continue;
      const radio = Object.assign(document.createElement("input"),
        {type: "radio", name: "data", value: name});
      const canvas = Object.assign(document.createElement("canvas"), {width: 56, height: 56});
      const label = document.createElement("label");
      label.append(radio, canvas, name);
      radio.addEventListener("change", () => changed({data: name, loss: ""}));
      this.thumbnails[name] = canvas;
      $("data").append(label);
    }
  }

  recolor() {
    for (const [name, canvas] of Object.entries(this.thumbnails)) drawThumbnail(canvas, name);
  }

  show(setup) {
    const {settings, table} = setup;
    fill($("loss"), setup.classifies ? this.choices.class_losses : this.choices.value_losses);
    for (const name of ["activation", "optimizer", "schedule", "loss"])
      $(name).value = settings[name];
    for (const [name, usual] of Object.entries(NUMBERS)) {
      const values = usual.includes(settings[name]) ? usual :
        [...usual, settings[name]].sort((a, b) => a - b);
      fill($(name), values.filter((v) => name !== "batch" || v <= setup.n_train
        || v === settings.batch));
      $(name).value = String(settings[name]);
    }
    $("horizon-label").hidden = settings.schedule === "constant";
    for (const name of RANGES) {
      $(name).value = settings[name];
      $(`${name}-out`).textContent = TEXTS[name](settings[name]);
    }
    const csv = settings.data === "csv";
    $("noise-label").hidden = $("points-label").hidden = csv;
    $("columns").hidden = !csv;
    if (csv) {
      fill($("x"), table.inputs);
      fill($("y"), table.inputs);
      fill($("target"), table.targets);
      for (const name of ["x", "y", "target"]) $(name).value = settings[name];
    }
    for (const radio of document.querySelectorAll("#data input"))
      radio.checked = radio.value === settings.data;
    $("n-layers").textContent = settings.layers.length;
    $("fewer-layers").disabled = settings.layers.length === 0;
    $("more-layers").disabled = settings.layers.length >= this.choices.max_layers;
    $("shape").textContent = `${setup.sizes.join("-")}, ${setup.n_parameters} parameters`;
    $("right-title").textContent = setup.classifies ? "right" : "";
    const [across, up] = setup.names;
    $("x-name").textContent = csv ? `→ ${across}` : `→ ${across}`;
    $("y-name").textContent = `↑ ${up}`;
  }
}

function fill(select, values) {
  const wanted = values.map(String);
  if (wanted.length === select.options.length
      && wanted.every((value, i) => select.options[i].value === value)) return;
  select.replaceChildren(...wanted.map((value) =>
    Object.assign(document.createElement("option"), {value, textContent: NAMES[value] ?? value})));
}
