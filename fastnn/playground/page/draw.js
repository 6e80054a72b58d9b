// Maps, points and curves on canvases.

// 256 colours each, as 32-bit numbers; those of maps are paler than those of points
let palette = null, maps = null, classes = null;
let colors = {};

const parse = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

export function takeColors() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["positive", "negative", "middle", "text", "soft", "rule", "train", "test",
    "panel"])
    colors[name] = style.getPropertyValue(`--${name}`).trim();
  const [low, middle, high] = ["negative", "middle", "positive"].map((name) => parse(colors[name]));
  const mixed = (a, b, t) => a.map((value, i) => Math.round(value + (b[i] - value) * t));
  const packed = ([r, g, b]) => (255 << 24 | b << 16 | g << 8 | r) >>> 0;
  palette = new Uint32Array(256);
  maps = new Uint32Array(256);
  classes = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    const t = i / 127.5 - 1;
    palette[i] = packed(t < 0 ? mixed(middle, low, Math.min(-t, 1)) : mixed(middle, high, t));
    maps[i] = packed(mixed(middle, t < 0 ? low : high, 0.72 * Math.min(Math.abs(t), 1)));
    classes[i] = packed(mixed(middle, t < 0 ? low : high, 0.72));
  }
  return colors;
}

const small = document.createElement("canvas");

// A map of side * side bytes fills the canvas.
export function drawMap(canvas, bytes, discrete = false) {
  const side = Math.sqrt(bytes.length), context = canvas.getContext("2d");
  const table = discrete ? classes : maps;
  const image = new ImageData(side, side), pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < bytes.length; i++) pixels[i] = table[bytes[i]];
  if (canvas.width === side) {
    context.putImageData(image, 0, 0);
    return;
  }
  small.width = small.height = side;
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = true;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

export function drawPoints(canvas, setup, showTrain, showTest) {
  const context = canvas.getContext("2d"), scale = canvas.width / (2 * setup.range);
  context.lineWidth = 1;
  setup.points.forEach(([x, y], i) => {
    const test = i >= setup.n_train;
    if (test ? !showTest : !showTrain) return;
    const value = setup.classifies ? 2 * setup.targets[i] - 1 : setup.targets[i];
    const byte = Math.max(0, Math.min(255, Math.round(value * 127.5 + 127.5)));
    context.beginPath();
    context.arc((x + setup.range) * scale, (setup.range - y) * scale, 3.2, 0, 7);
    const color = palette[byte];
    context.fillStyle = `rgb(${color & 255},${color >> 8 & 255},${color >> 16 & 255})`;
    context.fill();
    context.strokeStyle = test ? colors.text : colors.panel;
    context.stroke();
  });
}

// Small pictures of the data sets: what they look like, not their points.
const THUMBNAILS = {
  circles: (i, t) => { const a = 2.4 * i, r = i % 2 ? 0.4 * t : 0.75 + 0.1 * t;
    return [r * Math.cos(a), r * Math.sin(a), i % 2]; },
  xor: (i, t) => { const x = t * 2 - 1, y = (i * 0.618 % 1) * 2 - 1; return [x, y, x * y > 0]; },
  spirals: (i, t) => { const a = 5.5 * t * 2 + Math.PI * (i % 2), r = 0.1 + 0.85 * t;
    return [r * Math.sin(a), r * Math.cos(a), i % 2]; },
  gaussians: (i, t) => { const s = i % 2 ? 0.45 : -0.45, a = 2.4 * i;
    return [s + 0.32 * t * Math.cos(a), s + 0.32 * t * Math.sin(a), i % 2]; },
  plane: (i, t) => { const x = t * 2 - 1, y = (i * 0.618 % 1) * 2 - 1;
    return [x, y, (x + y + 2) / 4]; },
  hills: (i, t) => { const x = t * 2 - 1, y = (i * 0.618 % 1) * 2 - 1;
    return [x, y, 0.5 + 0.5 * Math.cos(4.7 * x) * Math.sin(3 * y)]; },
};

export function drawThumbnail(canvas, name) {
  const context = canvas.getContext("2d"), n = 90, half = canvas.width / 2;
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < n; i++) {
    const [x, y, value] = THUMBNAILS[name](i, (i + 0.5) / n);
    const color = palette[Math.round(255 * value)];
    context.fillStyle = `rgb(${color & 255},${color >> 8 & 255},${color >> 16 & 255})`;
    context.fillRect(half + x * half * 0.9 - 2, half - y * half * 0.9 - 2, 4, 4);
  }
}

// ---- curves of the loss ----

const KEPT = 600;

export class Curves {
  constructor(canvas) { this.canvas = canvas; this.clear(); }

  clear() { this.points = []; this.every = 1; this.seen = 0; }

  add(epoch, train, test) {
    const last = this.points[this.points.length - 1];
    if (last && last[0] === epoch) return;
    if (this.seen++ % this.every) { this.latest = [epoch, train, test]; return; }
    this.latest = null;
    this.points.push([epoch, train, test]);
    if (this.points.length > KEPT) {
      this.points = this.points.filter((_, i) => i % 2 === 0);
      this.every *= 2;
    }
  }

  draw() {
    const {canvas} = this, context = canvas.getContext("2d");
    const width = canvas.width, height = canvas.height, left = 44, foot = 18;
    context.clearRect(0, 0, width, height);
    context.font = "11px system-ui, sans-serif";
    const points = this.latest ? [...this.points, this.latest] : this.points;
    const values = points.flatMap(([, a, b]) => [a, b]).filter((v) => v !== null);
    context.strokeStyle = colors.rule;
    context.strokeRect(left + 0.5, 4.5, width - left - 6, height - foot - 6);
    if (!values.length) return;
    let low = Math.min(...values), high = Math.max(...values);
    const log = low > 0 && high / low > 20, scale = log ? Math.log10 : (v) => v;
    low = Math.max(low, log ? high * 1e-7 : -Infinity);
    [low, high] = [scale(low), scale(high)];
    if (high - low < 1e-9) { low -= 0.5; high += 0.5; }
    const end = points[points.length - 1][0] || 1;
    const x = (epoch) => left + 2 + (width - left - 10) * epoch / end;
    const y = (v) => 6 + (height - foot - 10) * Math.min(1, (high - scale(v)) / (high - low));
    context.fillStyle = colors.soft;
    const name = (v) => { v = log ? 10 ** v : v;
      return v && Math.abs(v) < 0.001 ? v.toExponential(0) : v.toPrecision(2); };
    context.textAlign = "right";
    context.fillText(name(high), left - 4, 14);
    context.fillText(name(low), left - 4, height - foot - 2);
    context.fillText(end.toLocaleString("en"), width - 6, height - 4);
    context.textAlign = "left";
    context.fillText(log ? "loss (log), epochs 0" : "loss, epochs 0", left, height - 4);
    for (const [which, color] of [[2, colors.test], [1, colors.train]]) {
      context.beginPath();
      let pen = false;
      for (const point of points) {
        if (point[which] === null) { pen = false; continue; }
        context[pen ? "lineTo" : "moveTo"](x(point[0]), y(point[which]));
        pen = true;
      }
      context.strokeStyle = color;
      context.lineWidth = 1.6;
      context.stroke();
    }
  }
}
