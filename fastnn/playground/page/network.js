// The drawing of the network: inputs, units with their maps, weights as lines.

import {UNIT} from "./api.js";
import {drawMap} from "./draw.js";

const SVG = "http://www.w3.org/2000/svg";
export const FEATURE_NAMES = {"x1": "x₁", "x2": "x₂", "x1^2": "x₁²", "x2^2": "x₂²",
  "x1*x2": "x₁x₂", "sin1": "sin πx₁", "sin2": "sin πx₂"};

function element(tag, properties = {}, ...children) {
  const found = Object.assign(document.createElement(tag), properties);
  found.append(...children);
  return found;
}

export class Network {
  // changed(settings), show(what or null): what is {layer, unit}, {feature} or null for the output
  constructor(holder, lines, hint, changed, show) {
    Object.assign(this, {holder, lines, hint, changed, show});
    this.usual = hint.textContent;
    new ResizeObserver(() => this.place()).observe(holder);
  }

  build(setup, choices, featureMaps) {
    const {settings} = setup, focus = document.activeElement?.dataset?.key;
    this.setup = setup;
    this.parts = null;
    this.inputs = [];
    this.units = [];
    const columns = [this.inputColumn(settings, choices, featureMaps)];
    settings.layers.forEach((size, l) => columns.push(this.column(settings, choices, l, size)));
    this.output = this.unit(settings.layers.length, 0, "output");
    this.units.push([this.output]);
    columns.push(element("div", {className: "column"},
      element("div", {className: "head"}, "output"), this.output));
    this.holder.replaceChildren(...columns);
    this.makeLines();
    this.place();
    if (focus) this.holder.querySelector(`[data-key="${focus}"]`)?.focus();
  }

  inputColumn(settings, choices, featureMaps) {
    const column = element("div", {className: "column"},
      element("div", {className: "head"}, "inputs"));
    choices.features.forEach((name, i) => {
      const used = settings.features.includes(name), canvas = this.canvas();
      const button = element("button", {className: "unit", ariaLabel: `input ${name}`}, canvas);
      button.setAttribute("aria-pressed", used);
      button.dataset.key = `feature-${name}`;
      button.addEventListener("click", () => {
        const features = choices.features.filter((other) =>
          settings.features.includes(other) !== (other === name));
        if (features.length) this.changed({features: features.join(",")});
        else this.hint.textContent = "The network needs an input.";
      });
      this.listen(button, {feature: i}, () => `Input ${FEATURE_NAMES[name]}${used ? "" :
        ", not used"}.`);
      drawMap(canvas, featureMaps[i]);
      if (used) this.inputs.push(button);
      column.append(element("div", {className: "feature"},
        element("span", {}, FEATURE_NAMES[name]), button));
    });
    return column;
  }

  column(settings, choices, l, size) {
    const resize = (by) => this.changed({layers: settings.layers.map((n, i) =>
      i === l ? n + by : n).join(",")});
    const less = element("button", {className: "less", textContent: "−", disabled: size <= 1,
      ariaLabel: `layer ${l + 1}: one unit less`, onclick: () => resize(-1)});
    const more = element("button", {className: "more", textContent: "+",
      disabled: size >= choices.max_units, ariaLabel: `layer ${l + 1}: one unit more`,
      onclick: () => resize(1)});
    less.dataset.key = `less-${l}`;
    more.dataset.key = `more-${l}`;
    const units = Array.from({length: size}, (_, i) =>
      this.unit(l, i, `layer ${l + 1}, unit ${i + 1}`));
    this.units.push(units);
    return element("div", {className: "column"},
      element("div", {className: "head"}, `layer ${l + 1}`,
        element("div", {}, less, String(size), more)), ...units);
  }

  canvas() { return element("canvas", {width: UNIT, height: UNIT}); }

  unit(layer, unit, name) {
    const button = element("button", {className: "unit", ariaLabel: name}, this.canvas());
    button.dataset.key = `unit-${layer}-${unit}`;
    const output = name === "output";
    this.listen(button, output ? null : {layer, unit}, () => {
      const bias = this.parts?.biases[layer][unit];
      return `${name[0].toUpperCase()}${name.slice(1)}: bias ${bias === undefined ? "–" :
        bias.toPrecision(3)}. Its map is shown on the right.`;
    });
    return button;
  }

  listen(button, what, text) {
    const enter = () => {
      button.classList.add("shown");
      this.hint.textContent = text();
      this.show(what);
    };
    const leave = () => {
      button.classList.remove("shown");
      this.hint.textContent = this.usual;
      this.show(null);
    };
    button.addEventListener("pointerenter", enter);
    button.addEventListener("focus", enter);
    button.addEventListener("pointerleave", leave);
    button.addEventListener("blur", leave);
  }

  makeLines() {
    const layers = [this.inputs, ...this.units];
    this.paths = [];
    for (let l = 1; l < layers.length; l++) {
      const paths = [];
      layers[l - 1].forEach((from, i) => layers[l].forEach((to, j) => {
        const path = document.createElementNS(SVG, "path");
        path.addEventListener("pointerenter", () => {
          const weight = this.parts?.weights[l - 1][i * layers[l].length + j];
          this.hint.textContent = `Weight from ${from.ariaLabel} to ${to.ariaLabel}: ${
            weight === undefined ? "–" : weight.toPrecision(3)}.`;
        });
        path.addEventListener("pointerleave", () => { this.hint.textContent = this.usual; });
        paths.push({path, from, to});
      }));
      this.paths.push(paths);
    }
    this.lines.replaceChildren(...this.paths.flat().map(({path}) => path));
  }

  // Lines go from the right side of a unit to the left side of another.
  place() {
    const frame = this.lines.getBoundingClientRect(), boxes = new Map();
    const box = (unit) => {
      if (!boxes.has(unit)) boxes.set(unit, unit.getBoundingClientRect());
      return boxes.get(unit);
    };
    for (const paths of this.paths ?? []) for (const {path, from, to} of paths) {
      const a = box(from), b = box(to), middle = (a.right + b.left) / 2 - frame.left;
      const [ax, ay, bx, by] = [a.right - frame.left, (a.top + a.bottom) / 2 - frame.top,
        b.left - frame.left, (b.top + b.bottom) / 2 - frame.top].map((v) => Math.round(v));
      path.setAttribute("d", `M${ax} ${ay}C${middle} ${ay} ${middle} ${by} ${bx} ${by}`);
    }
  }

  draw(parts, colors, smallOutput) {
    this.parts = parts;
    parts.maps.forEach((maps, l) => maps.forEach((map, i) =>
      drawMap(this.units[l][i].firstChild, map)));
    drawMap(this.output.firstChild, smallOutput);
    this.paths.forEach((paths, l) => paths.forEach(({path}, k) => {
      const weight = parts.weights[l][k];
      path.setAttribute("stroke", weight < 0 ? colors.negative : colors.positive);
      path.setAttribute("stroke-width",
        Math.min(8, 0.4 + 1.6 * Math.abs(weight) ** 0.8).toFixed(1));
    }));
  }
}
