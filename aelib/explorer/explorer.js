// The explorer in the browser: it draws what the kernel sends, and tells the kernel what was clicked, moved and typed.
// All that is computed about a z-point is computed there (aelib/explorer/session.py).

const CLICK = 4; // pixels that a click may move
const REACH = 10; // pixels within which a click finds a point
const MARGIN = { left: 46, right: 10, top: 10, bottom: 34 };
const RAMP = [[0x1f, 0x6f, 0xb4], [0x86, 0x8b, 0x93], [0xd9, 0x6a, 0x0b]]; // blue, grey, orange: safe for colour-blind eyes
const PLAIN = [0x3f, 0x6f, 0x9f];

function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  // JupyterLab takes keys for its own where it finds a target without this; the target's parents do not count.
  node.setAttribute("data-lm-suppress-shortcuts", "true");
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key in node && typeof value === "boolean") node[key] = value;
    else if (value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

function signed(value, digits = 2) {
  return (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
}

function plain(value) {
  return Number(value.toPrecision(3)).toString().replace("-", "−");
}

/** Requests to the kernel: one at a time, and of those that wait only the latest of each kind. */
class Line {
  constructor(send, onBusy) {
    this.send = send;
    this.onBusy = onBusy;
    this.name = Math.random().toString(36).slice(2);
    this.waiting = new Map();
    this.count = 0;
    this.current = null;
  }

  ask(key, message, at = null) {
    this.waiting.set(key, { message, at });
    this.next();
  }

  next() {
    if (this.current || this.waiting.size === 0) return;
    const [key, { message, at }] = this.waiting.entries().next().value;
    this.waiting.delete(key);
    this.current = { id: `${this.name}-${++this.count}`, at };
    this.timer = setTimeout(() => this.onBusy(true), 400);
    this.send({ ...message, id: this.current.id });
  }

  /** When the input happened that an answer belongs to; null if it is not ours. */
  since(id) {
    return this.current && this.current.id === id ? this.current.at : null;
  }

  done(id) {
    if (!this.current || this.current.id !== id) return;
    clearTimeout(this.timer);
    this.onBusy(false);
    this.current = null;
    this.next();
  }
}

/** A picture: raw RGB bytes on a canvas. */
class Picture {
  constructor(size, label) {
    this.size = size;
    this.canvas = h("canvas", { width: size, height: size, role: "img", "aria-label": label });
    this.context = this.canvas.getContext("2d");
    this.pixels = this.context.createImageData(size, size);
    this.pixels.data.fill(255);
  }

  show(bytes) {
    const data = this.pixels.data;
    for (let from = 0, to = 0; from < bytes.length; to += 4) {
      data[to] = bytes[from++];
      data[to + 1] = bytes[from++];
      data[to + 2] = bytes[from++];
    }
    this.context.putImageData(this.pixels, 0, 0);
    this.canvas.classList.add("shown");
  }

  label(text) {
    this.canvas.setAttribute("aria-label", text);
  }
}

/** The cloud in a plane: points, ellipses, probe and pins. */
class Plot {
  constructor(root, { onProbe, onChoose }) {
    this.root = root;
    this.onProbe = onProbe;
    this.onChoose = onChoose;
    this.points = new Float32Array();
    this.levels = null;
    this.outlines = [];
    this.sigma = [];
    this.labels = ["", ""];
    this.place = null;
    this.pins = {};
    this.view = [-1, 1, -1, 1];
    this.layer = document.createElement("canvas");
    this.canvas = h("canvas", { class: "map", tabindex: "0", role: "application" });
    this.context = this.canvas.getContext("2d");
    this.listen();
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.canvas);
  }

  listen() {
    const canvas = this.canvas;
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("pointercancel", () => (this.held = null));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  press(event) {
    if (event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.focus({ preventScroll: true });
    this.held = { x: event.offsetX, y: event.offsetY, moved: false, pan: event.shiftKey, view: [...this.view] };
    event.preventDefault();
  }

  drag(event) {
    const held = this.held;
    if (!held) return;
    const dx = event.offsetX - held.x;
    const dy = event.offsetY - held.y;
    if (!held.moved && Math.hypot(dx, dy) <= CLICK) return;
    held.moved = true;
    if (held.pan) {
      const [x0, x1, y0, y1] = held.view;
      const [width, height] = this.inner();
      const sx = (dx / width) * (x1 - x0);
      const sy = (dy / height) * (y1 - y0);
      this.view = [x0 - sx, x1 - sx, y0 + sy, y1 + sy];
      this.redrawPoints();
    } else {
      this.move(this.fromScreen(event.offsetX, event.offsetY), event.timeStamp);
    }
  }

  release(event) {
    const held = this.held;
    this.held = null;
    if (!held || held.moved) return;
    const nearest = this.nearest(event.offsetX, event.offsetY);
    if (nearest >= 0) this.onChoose(nearest, event.timeStamp);
    else this.move(this.fromScreen(event.offsetX, event.offsetY), event.timeStamp);
  }

  wheel(event) {
    event.preventDefault();
    this.zoom(Math.exp(event.deltaY * 0.0015), event.offsetX, event.offsetY);
  }

  key(event) {
    const step = event.shiftKey ? 0.05 : 0.01;
    const [x0, x1, y0, y1] = this.view;
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const way = ways[event.key];
    if (way) {
      const from = this.place ?? [(x0 + x1) / 2, (y0 + y1) / 2];
      this.move([from[0] + way[0] * step * (x1 - x0), from[1] + way[1] * step * (y1 - y0)], event.timeStamp);
    } else if (event.key === "Enter" && this.place) {
      const nearest = this.nearest(...this.toScreen(this.place[0], this.place[1]), Infinity);
      if (nearest >= 0) this.onChoose(nearest, event.timeStamp);
    } else if (event.key === "+" || event.key === "=") this.zoom(0.8);
    else if (event.key === "-") this.zoom(1.25);
    else if (event.key === "0") this.reset();
    else return;
    // The notebook must not take the keys for its own.
    event.preventDefault();
    event.stopPropagation();
  }

  move(place, at) {
    this.place = place;
    this.draw();
    this.onProbe(place, at);
  }

  zoom(factor, px = null, py = null) {
    const [width, height] = this.inner();
    const [x, y] = this.fromScreen(px ?? MARGIN.left + width / 2, py ?? MARGIN.top + height / 2);
    const [x0, x1, y0, y1] = this.view;
    this.view = [x - (x - x0) * factor, x + (x1 - x) * factor, y - (y - y0) * factor, y + (y1 - y) * factor];
    this.redrawPoints();
  }

  reset() {
    const spans = [0, 1].map((c) => this.span(c));
    this.view = [...spans[0], ...spans[1]];
    this.redrawPoints();
  }

  /** From the lowest to the highest coordinate, but for a few outliers, ellipses included. */
  span(c) {
    const values = new Float32Array(this.points.length / 2);
    for (let k = 0; k < values.length; k++) values[k] = this.points[2 * k + c];
    values.sort();
    const cut = Math.floor(values.length * 0.001);
    let low = values[cut];
    let high = values[values.length - 1 - cut];
    for (const line of this.outlines) {
      for (let k = c; k < line.length; k += 2) {
        low = Math.min(low, line[k]);
        high = Math.max(high, line[k]);
      }
    }
    const room = 0.05 * (high - low) || 1;
    return [low - room, high + room];
  }

  /** The room for points. It is the picture's, not the element's: while a theme loads, that has another size. */
  inner() {
    const ratio = window.devicePixelRatio || 1;
    return [
      Math.max(1, this.canvas.width / ratio - MARGIN.left - MARGIN.right),
      Math.max(1, this.canvas.height / ratio - MARGIN.top - MARGIN.bottom),
    ];
  }

  toScreen(x, y) {
    const [x0, x1, y0, y1] = this.view;
    const [width, height] = this.inner();
    return [MARGIN.left + ((x - x0) / (x1 - x0)) * width, MARGIN.top + ((y1 - y) / (y1 - y0)) * height];
  }

  fromScreen(px, py) {
    const [x0, x1, y0, y1] = this.view;
    const [width, height] = this.inner();
    return [x0 + ((px - MARGIN.left) / width) * (x1 - x0), y1 - ((py - MARGIN.top) / height) * (y1 - y0)];
  }

  nearest(px, py, reach = REACH) {
    const [x, y] = this.fromScreen(px, py);
    const [x0, x1, y0, y1] = this.view;
    const [width, height] = this.inner();
    const sx = width / (x1 - x0);
    const sy = height / (y1 - y0);
    let best = reach * reach;
    let found = -1;
    for (let k = 0; k < this.points.length; k += 2) {
      const dx = (this.points[k] - x) * sx;
      const dy = (this.points[k + 1] - y) * sy;
      const square = dx * dx + dy * dy;
      if (square < best) {
        best = square;
        found = k / 2;
      }
    }
    return found;
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(this.canvas.clientWidth * ratio);
    const height = Math.round(this.canvas.clientHeight * ratio);
    if (width === 0 || (width === this.canvas.width && height === this.canvas.height)) return;
    this.canvas.width = this.layer.width = width;
    this.canvas.height = this.layer.height = height;
    this.redrawPoints();
  }

  redrawPoints() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      const begun = performance.now();
      this.rasterise();
      this.draw();
      this.canvas.dataset.frame = (performance.now() - begun).toFixed(1);
    });
  }

  /** Count the points of each pixel, and average their colours; then paint the more opaque the more there are. */
  rasterise() {
    const { width: w, height: H } = this.layer;
    if (w === 0 || H === 0) return;
    const ratio = window.devicePixelRatio || 1;
    const n = this.points.length / 2;
    const counts = new Uint16Array(w * H);
    const sums = this.levels ? new Uint32Array(w * H) : null;
    const stamp = this.stamp((n < 3000 ? 2.6 : n < 40000 ? 1.6 : 1) * ratio);
    const [x0, x1, y0, y1] = this.view;
    const [iw, ih] = this.inner();
    const sx = (iw * ratio) / (x1 - x0);
    const sy = (ih * ratio) / (y1 - y0);
    const left = MARGIN.left * ratio;
    const top = MARGIN.top * ratio;
    const right = left + iw * ratio - 1;
    const bottom = top + ih * ratio - 1;
    for (let k = 0; k < n; k++) {
      const px = Math.round(left + (this.points[2 * k] - x0) * sx);
      const py = Math.round(top + (y1 - this.points[2 * k + 1]) * sy);
      if (!(px > left + 3 && px < right - 3 && py > top + 3 && py < bottom - 3)) continue;
      const at = py * w + px;
      for (const [dx, dy] of stamp) {
        const pixel = at + dy * w + dx;
        if (counts[pixel] === 65535) continue;
        counts[pixel]++;
        if (sums) sums[pixel] += this.levels[k];
      }
    }
    this.paint(counts, sums, n < 3000 ? 0.75 : n < 40000 ? 0.5 : 0.25);
  }

  stamp(radius) {
    const offsets = [];
    const r = Math.ceil(radius);
    for (let dy = -r; dy <= r; dy++) {
      for (let dx = -r; dx <= r; dx++) if (dx * dx + dy * dy <= radius * radius) offsets.push([dx, dy]);
    }
    return offsets;
  }

  paint(counts, sums, opacity) {
    const context = this.layer.getContext("2d");
    const image = context.createImageData(this.layer.width, this.layer.height);
    const target = new Uint32Array(image.data.buffer);
    const ramp = sums ? this.ramp() : null;
    const one = (PLAIN[2] << 16) | (PLAIN[1] << 8) | PLAIN[0];
    const alphas = Array.from({ length: 64 }, (_, c) => Math.round(255 * (1 - (1 - opacity) ** Math.min(c, 63))));
    for (let k = 0; k < counts.length; k++) {
      const count = counts[k];
      if (count === 0) continue;
      const colour = ramp ? ramp[Math.round(sums[k] / count)] : one;
      target[k] = ((alphas[Math.min(count, 63)] << 24) | colour) >>> 0;
    }
    context.putImageData(image, 0, 0);
  }

  ramp() {
    return Array.from({ length: 256 }, (_, level) => {
      const [r, g, b] = colourOf(level / 254);
      return (b << 16) | (g << 8) | r;
    });
  }

  draw() {
    const ratio = window.devicePixelRatio || 1;
    const context = this.context;
    const style = getComputedStyle(this.root);
    const ink = style.getPropertyValue("--ax-fg").trim() || "#222";
    const back = style.getPropertyValue("--ax-bg").trim() || "#fff";
    const probe = style.getPropertyValue("--ax-probe").trim() || "#c2410c";
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.drawImage(this.layer, 0, 0);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = "11px " + (style.fontFamily || "sans-serif");
    this.drawFrame(context, ink);
    this.clip(context, () => {
      this.drawEllipses(context, ink, back);
      for (const [name, place] of Object.entries(this.pins)) if (place) this.drawPin(context, name, place, ink, back);
      if (this.place) this.drawProbe(context, probe, back);
    });
  }

  clip(context, draw) {
    const [width, height] = this.inner();
    context.save();
    context.beginPath();
    context.rect(MARGIN.left, MARGIN.top, width, height);
    context.clip();
    draw();
    context.restore();
  }

  drawFrame(context, ink) {
    const [width, height] = this.inner();
    context.strokeStyle = context.fillStyle = ink;
    context.lineWidth = 1;
    context.globalAlpha = 0.35;
    context.strokeRect(MARGIN.left + 0.5, MARGIN.top + 0.5, width - 1, height - 1);
    context.globalAlpha = 1;
    if (!this.outlines.length) return; // a map's axes have no meaning
    const [x0, x1, y0, y1] = this.view;
    context.textAlign = "center";
    for (const x of ticks(x0, x1, width / 70)) {
      context.fillText(plain(x), this.toScreen(x, 0)[0], MARGIN.top + height + 14);
    }
    context.textAlign = "right";
    for (const y of ticks(y0, y1, height / 50)) {
      context.fillText(plain(y), MARGIN.left - 5, this.toScreen(0, y)[1] + 4);
    }
    context.textAlign = "center";
    context.fillText(this.labels[0], MARGIN.left + width / 2, MARGIN.top + height + 28);
    context.save();
    context.translate(11, MARGIN.top + height / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(this.labels[1], 0, 0);
    context.restore();
  }

  drawEllipses(context, ink, back) {
    this.outlines.forEach((line, index) => {
      context.beginPath();
      for (let k = 0; k < line.length; k += 2) {
        const [x, y] = this.toScreen(line[k], line[k + 1]);
        if (k === 0) context.moveTo(x, y);
        else context.lineTo(x, y);
      }
      for (const [colour, width, alpha] of [[back, 3.5, 0.7], [ink, 1.4, 0.9]]) {
        context.strokeStyle = colour;
        context.lineWidth = width;
        context.globalAlpha = alpha;
        context.stroke();
      }
      context.globalAlpha = 1;
      this.write(context, `${this.sigma[index]} σ`, this.top(line), ink, back);
    });
  }

  top(line) {
    let best = 0;
    for (let k = 0; k < line.length; k += 2) if (line[k + 1] > line[best + 1]) best = k;
    const [x, y] = this.toScreen(line[best], line[best + 1]);
    return [x, y - 4];
  }

  write(context, text, [x, y], ink, back) {
    context.textAlign = "center";
    context.lineWidth = 3;
    context.strokeStyle = back;
    context.strokeText(text, x, y);
    context.fillStyle = ink;
    context.fillText(text, x, y);
  }

  drawPin(context, name, place, ink, back) {
    const [x, y] = this.toScreen(...place);
    context.beginPath();
    context.arc(x, y, 9, 0, 2 * Math.PI);
    context.fillStyle = back;
    context.fill();
    context.lineWidth = 2;
    context.strokeStyle = context.fillStyle = ink;
    context.stroke();
    context.textAlign = "center";
    context.fillText(name.toUpperCase(), x, y + 4);
  }

  drawProbe(context, colour, back) {
    const [width, height] = this.inner();
    const [px, py] = this.toScreen(...this.place);
    const x = Math.min(Math.max(px, MARGIN.left + 8), MARGIN.left + width - 8);
    const y = Math.min(Math.max(py, MARGIN.top + 8), MARGIN.top + height - 8);
    const beyond = x !== px || y !== py; // outside of what is seen: hollow, at the edge
    for (const [stroke, line] of [[back, 5], [colour, 2.5]]) {
      context.strokeStyle = stroke;
      context.lineWidth = line;
      context.setLineDash(beyond ? [3, 3] : []);
      context.beginPath();
      context.arc(x, y, 8, 0, 2 * Math.PI);
      if (!beyond) {
        for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
          context.moveTo(x + 5 * dx, y + 5 * dy);
          context.lineTo(x + 13 * dx, y + 13 * dy);
        }
      }
      context.stroke();
    }
    context.setLineDash([]);
  }
}

function colourOf(share) {
  const at = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1);
  const k = Math.min(Math.floor(at), RAMP.length - 2);
  return RAMP[k].map((low, c) => Math.round(low + (at - k) * (RAMP[k + 1][c] - low)));
}

function css(share) {
  return `rgb(${colourOf(share).join(" ")})`;
}

function ticks(low, high, count) {
  const raw = (high - low) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const out = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) out.push(Number((k * step).toPrecision(12)));
  return out;
}

/** A slider with its name and its value. */
function slider({ label, title, low, high, step, format, onInput, onChange }) {
  const input = h("input", { type: "range", min: low, max: high, step, value: 0, title, "aria-label": label });
  const output = h("output", {}, format(0));
  const row = h("label", { class: "slider", title }, h("span", { class: "name" }, label), input, output);
  const show = (value) => {
    output.textContent = format(value);
    input.setAttribute("aria-valuetext", format(value));
    const fill = ((Math.min(Math.max(value, low), high) - low) / (high - low)) * 100;
    input.style.setProperty("--fill", `${fill}%`);
  };
  input.addEventListener("input", (event) => {
    show(input.valueAsNumber);
    onInput(input.valueAsNumber, event.timeStamp);
  });
  if (onChange) input.addEventListener("change", () => onChange(input.valueAsNumber));
  for (const name of ["pointerdown", "keydown"]) input.addEventListener(name, () => (input.dataset.held = "yes"));
  for (const name of ["pointerup", "keyup", "blur"]) input.addEventListener(name, () => delete input.dataset.held);
  const set = (value, isWaiting = false) => {
    // What the hand holds, or has moved on since, is not moved by an answer to where it was.
    if (input.dataset.held || isWaiting) return;
    input.value = value;
    show(value);
  };
  show(0);
  return { row, input, set };
}

class View {
  constructor(model, el) {
    this.model = model;
    this.about = model.get("about");
    this.root = h("section", { class: "aelib-explorer", "aria-label": "Explorer of the latent space" });
    this.line = new Line((message) => model.send(message), (busy) => this.root.classList.toggle("busy", busy));
    this.buildMap();
    this.buildPictures();
    this.buildSliders();
    this.buildDraws();
    this.buildWalk();
    this.buildCode();
    this.assemble();
    el.append(this.root);
    this.onMessage = (message, buffers) => this.receive(message, buffers ?? []);
    model.on("msg:custom", this.onMessage);
    // The name of a theme comes before its colours.
    this.watcher = new MutationObserver(() => [0, 200, 1000].forEach((wait) => setTimeout(() => this.plot.draw(), wait)));
    this.watcher.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class"] });
    this.line.ask("hello", { op: "hello" });
  }

  close() {
    this.model.off("msg:custom", this.onMessage);
    this.plot.observer.disconnect();
    this.watcher.disconnect();
    clearTimeout(this.playing);
  }

  buildMap() {
    const { about } = this;
    this.plot = new Plot(this.root, {
      onProbe: ([x, y], at) => this.line.ask("probe", { op: "probe", x, y }, at),
      onChoose: (k, at) => this.line.ask("choose", { op: "choose", k }, at),
    });
    this.plot.sigma = about.sigma;
    const kinds = { axes: "PCA axes", components: "components", ...(about.has_map ? { map: "t-SNE map" } : {}) };
    this.kind = h("select", { "aria-label": "Plane", onchange: () => this.look(true) },
      ...Object.entries(kinds).map(([value, text]) => h("option", { value }, text)));
    const number = (name) => h("input", { type: "number", min: 0, "aria-label": name, onchange: () => this.look(false) });
    this.i = number("horizontal");
    this.j = number("vertical");
    this.colour = h("select", { "aria-label": "Colour", onchange: () => this.line.ask("colour", { op: "colour", name: this.colour.value }) },
      h("option", { value: "" }, "nothing (density)"), h("option", { value: "distance" }, "distance from the centre"),
      ...[...about.factors].sort((a, b) => (b.r_squared ?? 0) - (a.r_squared ?? 0))
        .map((f) => h("option", { value: f.name }, f.name.replaceAll("_", " "))));
    this.legend = h("span", { class: "legend" });
    this.kept = h("p", { class: "kept" });
    const follow = (value, text) => {
      const input = h("input", { type: "radio", name: `follow-${this.line.name}`,
        onchange: () => this.line.ask("follow", { op: "follow", value }) });
      input.checked = !value;
      return h("label", {}, input, text);
    };
    this.follow = h("fieldset", { class: "follow" }, h("legend", { class: "hidden" }, "When the probe moves, the other components"),
      h("span", { "aria-hidden": "true" }, "The other components"), follow(false, "stay"), follow(true, "follow"));
    const button = (text, name, action) => h("button", { type: "button", title: name, "aria-label": name, onclick: action }, text);
    this.zoom = h("div", { class: "zoom" }, button("+", "Zoom in", () => this.plot.zoom(0.75)),
      button("−", "Zoom out", () => this.plot.zoom(1.33)), button("⤢", "Show all", () => this.plot.reset()));
  }

  look(fresh) {
    const kind = this.kind.value;
    const [i, j] = fresh ? (kind === "components" ? this.about.wide : [0, 1]) : [this.i.valueAsNumber, this.j.valueAsNumber];
    if (Number.isInteger(i) && Number.isInteger(j)) this.line.ask("look", { op: "look", kind, i, j });
  }

  buildPictures() {
    const { size, n } = this.about;
    this.from = new Picture(size, "where the probe set out");
    this.now = new Picture(size, "the probe, decoded");
    this.fromCaption = h("figcaption");
    this.nowCaption = h("figcaption");
    this.row = h("input", { type: "number", min: 0, max: n - 1,
      onkeydown: (event) => event.key === "Enter" && this.goToRow(),
      onchange: () => this.row.valueAsNumber !== this.asked && this.goToRow() });
    this.distance = h("strong");
    this.inPlane = h("span");
    this.meter = h("div", { class: "meter", role: "img" }, h("div", { class: "shell" }), h("div", { class: "needle" }));
    this.verdict = h("p", { class: "verdict", role: "status" });
    const [, low, , high] = this.about.shell;
    this.scale = 1.8 * this.about.shell[4];
    const shell = this.meter.firstChild.style;
    shell.left = `${(100 * low) / this.scale}%`;
    shell.width = `${(100 * (high - low)) / this.scale}%`;
    this.explained = h("p", { class: "small" }, `Mahalanobis distance from the centre in all ${this.about.d} dimensions; ` +
      `90 % of the faces have ${low.toFixed(1)} to ${high.toFixed(1)} σ, the grey band.`);
  }

  buildSliders() {
    this.axes = this.about.axes.map((share, k) => slider({
      label: `axis ${k}`, title: `Principal axis ${k}: ${(100 * share).toFixed(1)} % of the variance`,
      low: -4, high: 4, step: 0.05, format: (v) => `${signed(v)} σ`,
      onInput: (value, at) => this.line.ask(`axis ${k}`, { op: "axis", k, value }, at),
    }));
    this.factors = this.about.factors.map((factor) => {
      const read = factor.r_squared === null ? "" : `R² ${Math.max(factor.r_squared, 0).toFixed(2)}`;
      const meaning = [factor.meaning, factor.unit && `(${factor.unit})`].filter(Boolean).join(" ");
      const made = slider({
        label: factor.name.replaceAll("_", " "),
        title: `${meaning || factor.name}. A linear map of the z-point reads it with ${read || "unknown R²"}.`,
        low: -4, high: 4, step: 0.05, format: (v) => `${signed(v)} σ`,
        onInput: (value, at) => this.line.ask(`factor ${factor.name}`, { op: "factor", k: factor.name, value }, at),
      });
      made.row.append(h("span", { class: "read" }, read));
      if ((factor.r_squared ?? 1) < 0.2) made.row.classList.add("guess");
      return { ...made, factor };
    });
    this.panels = { axes: h("div", { role: "tabpanel", tabindex: "0", "aria-label": "Sliders of the principal axes" },
      ...this.axes.map((s) => s.row)) };
    if (this.factors.length) this.panels.factors = this.factorPanel();
    this.tabs = h("div", { role: "tablist", "aria-label": "Sliders" }, ...Object.keys(this.panels).map((name) => h("button", {
      type: "button", role: "tab", id: `${name}-${this.line.name}`, onclick: () => this.showTab(name),
      onkeydown: (event) => this.tabKey(event), "data-tab": name,
    }, name === "axes" ? "PCA axes" : "Factors")));
    this.showTab("axes");
  }

  factorPanel() {
    const sorted = [...this.factors].sort((a, b) => (b.factor.r_squared ?? 0) - (a.factor.r_squared ?? 0));
    const search = h("input", { type: "search", placeholder: "find a factor", "aria-label": "Find a factor",
      oninput: () => sorted.forEach(({ row, factor }) => {
        const text = `${factor.name} ${factor.meaning}`.replaceAll("_", " ").toLowerCase();
        row.hidden = !text.includes(search.value.toLowerCase());
      }) });
    return h("div", { role: "tabpanel", tabindex: "0", "aria-label": "Sliders of the factors" }, search,
      h("p", { class: "small" }, "Linear readings, in σ; R² says how well they read. Italic: hardly in the code, its direction is a guess."),
      ...sorted.map((s) => s.row));
  }

  showTab(name) {
    for (const [other, panel] of Object.entries(this.panels)) panel.hidden = other !== name;
    for (const tab of this.tabs.children) {
      tab.setAttribute("aria-selected", String(tab.dataset.tab === name));
      tab.tabIndex = tab.dataset.tab === name ? 0 : -1;
    }
  }

  tabKey(event) {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const other = [...this.tabs.children].find((tab) => tab !== event.currentTarget);
    if (!other) return;
    this.showTab(other.dataset.tab);
    other.focus();
    event.preventDefault();
  }

  buildDraws() {
    const [low, high] = this.about.temperature;
    this.sampler = h("select", { "aria-label": "Draw from" }, ...this.about.samplers.map((name) => h("option", { value: name }, name)));
    this.temperature = slider({
      label: "temperature", title: "Scales the deviation from the centre: of the probe, and of what is drawn",
      low, high, step: 0.05, format: (v) => `T = ${v.toFixed(2)}`,
      onInput: (value, at) => this.line.ask("temperature", { op: "temperature", value }, at),
      onChange: () => this.line.ask("redraw", { op: "redraw" }),
    });
    this.strip = h("div", { class: "strip", role: "group", "aria-label": "Drawn faces: choose one to go there" });
    this.drawnFaces = Array.from({ length: this.about.n_drawn }, (_, k) => {
      const picture = new Picture(this.about.size, "");
      picture.canvas.removeAttribute("role");
      picture.canvas.removeAttribute("aria-label");
      picture.canvas.setAttribute("aria-hidden", "true");
      const button = h("button", { type: "button", "aria-label": `Drawn face ${k + 1}: go there`, disabled: true,
        onclick: (event) => this.line.ask("jump", { op: "jump", k }, event.timeStamp) }, picture.canvas);
      this.strip.append(button);
      return { picture, button };
    });
    this.drawButton = h("button", { type: "button", class: "main",
      onclick: () => this.line.ask("draw", { op: "draw", name: this.sampler.value }) }, "Draw 16");
  }

  buildWalk() {
    this.pins = Object.fromEntries(["a", "b"].map((which) => {
      const name = which.toUpperCase();
      const picture = new Picture(this.about.size, `pin ${name}: empty`);
      const button = h("button", { type: "button", onclick: () => this.line.ask(`pin ${which}`, { op: "pin", which }) }, `Pin ${name}`);
      return [which, { picture, figure: h("figure", {}, picture.canvas, button), set: false }];
    }));
    this.way = h("select", { "aria-label": "Way", onchange: () => this.walkTo(this.step.input.valueAsNumber) },
      h("option", { value: "segment" }, "straight"), h("option", { value: "arc" }, "arc round the centre"));
    this.step = slider({
      label: "A to B", title: "How far on the way from pin A to pin B", low: 0, high: this.about.n_walk - 1, step: 1,
      format: (v) => `${v.toFixed(0)} %`, onInput: (value, at) => this.walkTo(value, at),
    });
    this.play = h("button", { type: "button", onclick: () => this.togglePlay() }, "Walk");
    this.lockWalk();
  }

  lockWalk() {
    const ready = this.pins.a.set && this.pins.b.set;
    this.step.input.disabled = this.play.disabled = this.way.disabled = !ready;
  }

  walkTo(k, at = null) {
    this.line.ask("walk", { op: "walk", k, way: this.way.value }, at);
  }

  togglePlay() {
    if (this.playing) {
      clearTimeout(this.playing);
      this.playing = null;
      this.play.textContent = "Walk";
      return;
    }
    this.play.textContent = "Stop";
    let k = this.step.input.valueAsNumber >= this.about.n_walk - 1 ? 0 : this.step.input.valueAsNumber;
    const advance = () => {
      if (!this.line.current) {
        this.walkTo(k);
        k += 1;
      }
      if (k >= this.about.n_walk) {
        this.playing = setTimeout(() => {}, 0);
        this.togglePlay();
      } else this.playing = setTimeout(advance, 40);
    };
    advance();
  }

  buildCode() {
    this.lines = h("pre", { tabindex: "0" });
    this.copied = h("span", { role: "status" });
    const copy = h("button", { type: "button", class: "main", onclick: () => this.copy() }, "Copy");
    const close = h("button", { type: "button", onclick: () => this.dialog.close() }, "Close");
    this.dialog = h("dialog", { "aria-label": "The lines of aelib that make this picture" },
      h("h3", {}, "The lines that make this picture"), this.lines, h("div", { class: "bar" }, this.copied, copy, close));
    this.dialog.addEventListener("keydown", (event) => event.stopPropagation());
  }

  async copy() {
    try {
      await navigator.clipboard.writeText(this.lines.textContent);
      this.copied.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(this.lines); // no leave to write: the keyboard can
      this.copied.textContent = "selected: copy with Ctrl+C";
    }
  }

  assemble() {
    const centre = h("button", { type: "button", title: "Go to the mean of the cloud",
      onclick: (event) => this.line.ask("centre", { op: "centre" }, event.timeStamp) }, "Centre");
    const code = h("button", { type: "button", title: "The lines of aelib that make this picture",
      onclick: () => this.line.ask("code", { op: "code" }) }, "Code");
    this.message = h("p", { class: "error", role: "alert" });
    this.root.append(
      h("div", { class: "bar top" },
        h("label", {}, "Plane ", this.kind), h("span", { class: "pair" }, this.i, h("span", {}, "×"), this.j),
        h("label", {}, "Colour ", this.colour), this.legend,
        h("span", { class: "right" }, h("span", { class: "working" }, "working …"), centre, code)),
      h("div", { class: "left" }, h("div", { class: "frame" }, this.plot.canvas, this.zoom), this.follow, this.kept),
      h("div", { class: "middle" },
        h("div", { class: "pair-of-pictures" }, h("figure", {}, this.from.canvas, this.fromCaption),
          h("figure", {}, this.now.canvas, this.nowCaption)),
        h("label", { class: "go" }, "Go to face ", this.row, h("span", { class: "small" }, ` of ${this.about.n}`)),
        h("p", { class: "distance" }, this.distance, this.inPlane), this.meter, this.verdict, this.explained, this.message),
      h("div", { class: "sliders" }, this.tabs, ...Object.values(this.panels)),
      h("div", { class: "draws" },
        h("div", { class: "bar" }, h("label", {}, "From ", this.sampler), this.drawButton, this.temperature.row), this.strip),
      h("div", { class: "walk" }, this.pins.a.figure,
        h("div", { class: "way" }, h("label", {}, "Way ", this.way), this.step.row, this.play), this.pins.b.figure),
      this.dialog);
  }

  /** Go to the face whose number was typed. In JupyterLab the Enter key makes no event of change, but leaving does. */
  goToRow() {
    this.asked = this.row.valueAsNumber;
    if (!Number.isNaN(this.asked)) this.line.ask("choose", { op: "choose", k: this.asked });
  }

  receive(message, buffers) {
    const bytes = (k) => new Uint8Array(buffers[k].buffer, buffers[k].byteOffset, buffers[k].byteLength);
    const floats = (k) => new Float32Array(bytes(k).slice().buffer);
    const act = {
      plane: () => this.showPlane(message, buffers.map((_, k) => floats(k))),
      colours: () => this.showColours(message, buffers.length ? bytes(0).slice() : null),
      point: () => this.showPoint(message, bytes(0), buffers.length > 1 ? bytes(1) : null),
      draws: () => this.showDraws(message, bytes(0)),
      pin: () => this.showPin(message, bytes(0)),
      code: () => this.showCode(message),
      error: () => { this.message.textContent = message.text; },
      done: () => this.line.done(message.id),
    }[message.op];
    if (act) act();
  }

  showPlane({ kind, i, j, pins }, [points, ...outlines]) {
    this.kind.value = kind;
    this.i.value = i;
    this.j.value = j;
    for (const input of [this.i, this.j]) {
      input.disabled = kind === "map";
      input.max = (kind === "axes" ? this.about.n_axes : this.about.d) - 1;
    }
    this.follow.hidden = kind !== "components";
    const what = kind === "axes" ? "PCA axis" : "component";
    this.plot.labels = [`${what} ${i}`, `${what} ${j}`];
    this.plot.points = points;
    this.plot.outlines = outlines;
    this.plot.pins = pins;
    this.plot.canvas.setAttribute("aria-label", `Map of ${points.length / 2} faces, ${kind === "map" ? "t-SNE" : this.plot.labels.join(" and ")}. ` +
      "Arrow keys move the probe, with Shift five times as far; Enter goes to the nearest face; plus, minus and 0 zoom.");
    this.plot.reset();
  }

  showColours({ name, low, high, binary, unit }, levels) {
    this.colour.value = name;
    this.plot.levels = levels;
    this.legend.replaceChildren();
    if (levels) {
      const swatch = (share) => h("i", { style: `background:${css(share)}` });
      const units = unit && !["relative", "share", "0 or 1"].includes(unit) ? ` ${unit === "degree" ? "°" : unit}` : "";
      if (binary) this.legend.append(swatch(0), plain(low), swatch(1), plain(high));
      else this.legend.append(plain(low), h("i", { class: "ramp", style: `background:linear-gradient(90deg,${css(0)},${css(0.5)},${css(1)})` }), plain(high) + units);
    }
    this.plot.redrawPoints();
  }

  showPoint({ report, id }, picture, original) {
    const at = this.line.since(id);
    this.now.show(picture);
    if (at !== null) measurePaint(at);
    if (original) this.from.show(original);
    else if (!report.moved) this.from.show(picture);
    this.message.textContent = "";
    if (!(this.plot.held && this.plot.held.moved) && !this.line.waiting.has("probe")) this.plot.place = report.place;
    this.plot.draw();
    this.tell(report, original !== null);
    const isWaiting = (key) => this.line.waiting.has(key);
    report.axes.forEach((value, k) => this.axes[k].set(value, isWaiting(`axis ${k}`)));
    report.factors.forEach((value, k) => this.factors[k].set(value, isWaiting(`factor ${this.about.factors[k].name}`)));
    this.temperature.set(report.temperature, isWaiting("temperature"));
    if (report.walk !== null) this.step.set(report.walk, isWaiting("walk"));
    this.drawnFaces.forEach(({ button }, k) => button.setAttribute("aria-pressed", String(report.drawn === k)));
    this.root.dataset.answered = `${Number(this.root.dataset.answered ?? 0) + 1}`;
  }

  tell(report, isFace) {
    const moved = report.moved ? "moved" : isFace ? "reconstruction" : "decoded";
    this.fromCaption.textContent = isFace ? `${report.start}, the image` : report.start;
    this.nowCaption.textContent = isFace && !report.moved ? "its reconstruction" : report.moved ? "the probe, decoded" : "decoded";
    this.from.label(this.fromCaption.textContent);
    this.now.label(`${this.nowCaption.textContent}: ${report.start}, ${moved}`);
    if (document.activeElement !== this.row) this.row.value = report.row ?? "";
    const far = report.distance === null ? "∞" : report.distance.toFixed(2);
    this.distance.textContent = `D = ${far} σ`;
    this.inPlane.textContent = report.plane_distance === null ? "" : ` in this plane ${report.plane_distance.toFixed(2)} σ`;
    const share = Math.min((report.distance ?? Infinity) / this.scale, 1);
    this.meter.lastChild.style.left = `${100 * share}%`;
    this.meter.setAttribute("aria-label", `Distance from the centre: ${far} standard deviations`);
    if (this.verdict.textContent !== report.verdict.text) this.verdict.textContent = report.verdict.text;
    this.root.dataset.level = report.verdict.level;
    this.kept.textContent = report.kept;
  }

  showDraws({ name, temperature }, bytes) {
    const one = bytes.length / this.drawnFaces.length;
    this.drawnFaces.forEach(({ picture, button }, k) => {
      picture.show(bytes.subarray(k * one, (k + 1) * one));
      button.disabled = false;
    });
    this.strip.title = `${name}, T = ${temperature}`;
  }

  showPin({ which, place }, bytes) {
    const pin = this.pins[which];
    pin.picture.show(bytes);
    pin.picture.label(`pin ${which.toUpperCase()}`);
    pin.set = true;
    this.plot.pins[which] = place;
    this.plot.draw();
    this.lockWalk();
  }

  showCode({ text }) {
    this.lines.textContent = text;
    this.copied.textContent = "";
    if (!this.dialog.open) this.dialog.showModal();
  }
}

/** Note how long it took from an input to its picture on the screen: `performance.getEntriesByName("aelib-picture")`. */
function measurePaint(at) {
  requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => performance.measure("aelib-picture", { start: at, end: performance.now() });
    channel.port2.postMessage(0);
  });
}

function render({ model, el }) {
  const view = new View(model, el);
  return () => view.close();
}

export default { render };
