"use strict";
// Texts of the model reach the page by `textContent` and attributes alone, never as HTML.
(() => {
const $ = (id) => document.getElementById(id);
const DATA = JSON.parse($("data").textContent);
const [A, B] = DATA.models;
const LAST = A.layers.length - 1;
const SCALES = ["linear", "sqrt", "log"];
const LOG_DECADES = 4;
const SVG = "http://www.w3.org/2000/svg";
const dark = matchMedia("(prefers-color-scheme: dark)");
const state = { place: LAST, scale: "sqrt", view: "field", timer: null, inside: false };
let pictures = [];

// -- values --

const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
const COLORS = bytes(DATA.colors);
const decodedPanels = new WeakMap();

/** Shares of the peak and the region of a panel, cell by cell. */
function decoded(panel) {
  if (!decodedPanels.has(panel)) {
    const raw = bytes(panel.data), bits = bytes(panel.mask), view = new DataView(raw.buffer);
    const shares = new Float32Array(raw.length / 2), mask = new Uint8Array(shares.length);
    for (let i = 0; i < shares.length; i++) {
      shares[i] = (view.getUint16(2 * i, true) / DATA.levels) ** 2;
      mask[i] = (bits[i >> 3] >> (7 - (i & 7))) & 1;
    }
    decodedPanels.set(panel, { shares, mask });
  }
  return decodedPanels.get(panel);
}

/** Where a share of the peak stands on the scale, 0 to 1. */
function shade(share) {
  if (state.scale === "linear") return share;
  if (state.scale === "sqrt") return Math.sqrt(share);
  return share > 0 ? Math.max(0, 1 + Math.log10(share) / LOG_DECADES) : 0;
}

/** Index of a colour's first byte: nothing looks like the page, the peak stands out. */
function colour(shaded) {
  const index = Math.round(255 * clamp(shaded, 0, 1));
  return 3 * (dark.matches ? 255 - index : index);
}

function rgb(shaded) {
  return `rgb(${COLORS.subarray(colour(shaded), colour(shaded) + 3).join(",")})`;
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const fixed = (value, digits = 1) => (value === null ? "–" : value.toFixed(digits));
const known = (layer, error) => error && !layer.constant;
function withError(layer, value, error, digits = 1) {
  if (value === null || !known(layer, error)) return fixed(value, digits);
  const more = clamp(Math.ceil(-Math.log10(2 * error)), digits, digits + 2);
  return `${fixed(value, more)} ± ${fixed(error, more)}`;
}
const by = (sizes) => sizes.join(" × ");
/** Whether a layer is inside of another one, and those are folded. */
const hidden = (place) => !state.inside && A.layers[place].around !== null;
const shownPlaces = () => A.layers.map((_, place) => place).filter((place) => !hidden(place));
const other = (place) => (B && DATA.pairs[place] !== null ? B.layers[DATA.pairs[place]] : null);

// -- elements --

function make(name, attributes = {}, ...children) {
  const svg = ["svg", "path", "circle", "line", "text", "title"].includes(name);
  const one = svg
    ? document.createElementNS(SVG, name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  one.append(...children);
  return one;
}

/** Whole numbers 1, 2 or 5 times a power of ten apart, about `count` of them. */
function ticks(start, stop, count) {
  const rough = Math.max((stop - start) / count, 1), ten = 10 ** Math.floor(Math.log10(rough));
  const step = ten * ([1, 2, 5].find((one) => one * ten >= rough) ?? 10);
  const found = [];
  for (let at = Math.ceil(start / step) * step; at <= stop; at += step) found.push(at);
  return found;
}

// -- pictures of maps: lists of shapes, both for a canvas and for a file --

/** The part of the input to show along an axis, in pixels' edges. */
function extent(layer, axis) {
  const size = layer.input_size[axis], [start, stop] = layer.box[axis];
  const margin = Math.ceil(0.1 * (stop - start));
  const pair = [Math.max(start - margin, 0), Math.min(stop + margin, size)];
  return state.view === "input" || pair[0] >= pair[1] ? [0, size] : pair;
}

function picture(layer, panel, width) {
  const flat = panel.axes.length === 1;
  const [rows, columns] = flat ? [null, extent(layer, panel.axes[0])] : panel.axes.map((a) => extent(layer, a));
  const margin = { left: flat ? 46 : 32, right: 8, top: 8, bottom: 24 };
  let w = width - margin.left - margin.right, h = flat ? 200 : 0;
  if (!flat) {
    const tall = (rows[1] - rows[0]) / (columns[1] - columns[0]);
    w = Math.min(w, Math.max(460 / tall, 60));
    h = clamp(w * tall, 48, 460);
  }
  const left = margin.left + (width - margin.left - margin.right - w) / 2, top = margin.top;
  const x = (at) => left + (w * (at - columns[0])) / (columns[1] - columns[0]);
  const y = flat ? (share) => top + h * (1 - shade(share) / 1.05)
    : (at) => top + (h * (at - rows[0])) / (rows[1] - rows[0]);
  const scene = { layer, panel, flat, rows, columns, left, top, w, h, x, y, shapes: [], width, height: top + h + margin.bottom };
  (flat ? curve : raster)(scene);
  marks(scene);
  axes(scene);
  return scene;
}

function raster({ panel, left, top, w, h, x, y, shapes }) {
  const { shares } = decoded(panel), [height, width] = panel.pixels, step = panel.step;
  const image = document.createElement("canvas");
  image.width = width;
  image.height = height;
  const context = image.getContext("2d"), pixels = context.createImageData(width, height);
  for (let row = 0, at = 0; row < height; row++) {
    const line = Math.floor(row / step) * panel.shape[1];
    for (let column = 0; column < width; column++, at += 4) {
      const from = colour(shade(shares[line + Math.floor(column / step)]));
      pixels.data.set(COLORS.subarray(from, from + 3), at);
      pixels.data[at + 3] = 255;
    }
  }
  context.putImageData(pixels, 0, 0);
  shapes.push({ path: `M${left} ${top}h${w}v${h}h${-w}z`, fill: rgb(0) });
  const [row, column] = panel.start;
  shapes.push({ image, x: x(column), y: y(row), w: x(column + width) - x(column), h: y(row + height) - y(row) });
}

function curve({ panel, x, y, shapes }) {
  const { shares, mask } = decoded(panel), [start] = panel.start, end = start + panel.pixels[0];
  const edge = (i) => x(Math.min(start + i * panel.step, end));
  let line = `M${x(start)} ${y(0)}`, region = "";
  shares.forEach((share, i) => {
    line += `V${y(share)}H${edge(i + 1)}`;
    if (mask[i]) region += `M${edge(i)} ${y(0)}V${y(1)}H${edge(i + 1)}V${y(0)}z`;
  });
  if ($("marks").elements.region.checked) shapes.push({ path: region, fill: css("--region"), opacity: 0.18 });
  shapes.push({ path: `${line}V${y(0)}z`, fill: css("--map"), opacity: 0.45 });
  shapes.push({ path: `${line}V${y(0)}`, stroke: css("--map"), width: 1.5 });
}

function marks(scene) {
  const { layer, panel, flat, x, y, top, h, shapes } = scene;
  const on = $("marks").elements, halo = css("--halo");
  const line = (path, stroke, width, dash) => {
    if (!flat) shapes.push({ path, stroke: halo, width: width + 1.6, opacity: 0.6 });
    shapes.push({ path, stroke, width, dash });
  };
  const upright = (at) => `M${x(at)} ${top}v${h}`;
  const box = panel.axes.map((axis) => layer.box[axis]);
  // A pixel's index is its middle.
  const centre = panel.axes.map((axis) => layer.trf_center[axis] + 0.5);
  if (on.region.checked && !flat) line(outline(scene), css("--region"), 1.4);
  const bell = layer.gaussian;
  if (on.ring.checked && bell) {
    const at = panel.axes.map((axis) => bell.center[axis] + 0.5);
    const cov = panel.axes.map((a) => panel.axes.map((b) => bell.covariance[a][b]));
    const first = Math.sqrt(cov[0][0]) * bell.radius;
    if (flat) line(upright(at[0] - first) + upright(at[0] + first), css("--ring"), 1.6);
    else {
      // Uses the Cholesky factor of the covariance.
      const slant = (cov[0][1] / Math.sqrt(cov[0][0])) * bell.radius;
      const second = Math.sqrt(Math.max(cov[1][1] * bell.radius ** 2 - slant ** 2, 0));
      const points = Array.from({ length: 73 }, (_, i) => {
        const angle = (i * Math.PI) / 36, [c, s] = [Math.cos(angle), Math.sin(angle)];
        return `${x(at[1] + slant * c + second * s).toFixed(2)} ${y(at[0] + first * c).toFixed(2)}`;
      });
      line(`M${points.join("L")}z`, css("--ring"), 1.6);
    }
  }
  if (on.box.checked) {
    line(flat ? upright(box[0][0]) + upright(box[0][1])
      : `M${x(box[1][0])} ${y(box[0][0])}H${x(box[1][1])}V${y(box[0][1])}H${x(box[1][0])}z`, css("--box"), 1.4, "6 4");
  }
  if (on.centre.checked) {
    if (flat) line(upright(centre[0]), css("--centre"), 1.4, "1 3");
    else {
      const [cx, cy] = [x(centre[1]), y(centre[0])];
      line(`M${cx - 6} ${cy}h12M${cx} ${cy - 6}v12`, css("--centre"), 1.6);
    }
  }
}

/** Pixel edges between inside and outside of the region. */
function outline({ panel, x, y }) {
  const { mask } = decoded(panel), [rows, columns] = panel.shape;
  const [row, column] = panel.start, [height, width] = panel.pixels;
  const inside = (r, c) => r >= 0 && c >= 0 && r < rows && c < columns && mask[r * columns + c] === 1;
  const across = (c) => x(column + Math.min(c * panel.step, width)).toFixed(2);
  const down = (r) => y(row + Math.min(r * panel.step, height)).toFixed(2);
  let path = "";
  for (let r = 0; r <= rows; r++) {
    for (let c = 0; c <= columns; c++) {
      if (inside(r, c) !== inside(r - 1, c) && c < columns) {
        const from = c;
        while (c + 1 < columns && inside(r, c + 1) !== inside(r - 1, c + 1)) c++;
        path += `M${across(from)} ${down(r)}H${across(c + 1)}`;
      }
    }
  }
  for (let c = 0; c <= columns; c++) {
    for (let r = 0; r < rows; r++) {
      if (inside(r, c) !== inside(r, c - 1)) {
        const from = r;
        while (r + 1 < rows && inside(r + 1, c) !== inside(r + 1, c - 1)) r++;
        path += `M${across(c)} ${down(from)}V${down(r + 1)}`;
      }
    }
  }
  return path;
}

function axes({ flat, rows, columns, left, top, w, h, x, y, shapes }) {
  const faint = css("--faint");
  shapes.push({ path: `M${left} ${top}h${w}v${h}h${-w}z`, stroke: css("--rule"), width: 1, free: true });
  for (const at of ticks(columns[0], columns[1] - 1, clamp(w / 60, 2, 8))) {
    shapes.push({ text: String(at), x: x(at + 0.5), y: top + h + 16, anchor: "middle", fill: faint });
  }
  if (flat) {
    for (const share of scaleTicks()) {
      shapes.push({ text: share === 1 ? "peak" : percent(share), x: left - 5, y: y(share) + 4, anchor: "end", fill: faint });
    }
    return;
  }
  for (const at of ticks(rows[0], rows[1] - 1, clamp(h / 50, 2, 8))) {
    shapes.push({ text: String(at), x: left - 6, y: y(at + 0.5) + 4, anchor: "end", fill: faint });
  }
}

const scaleTicks = () =>
  ({ linear: [0, 0.25, 0.5, 0.75, 1], sqrt: [0, 0.05, 0.25, 0.5, 1], log: [1e-4, 1e-3, 0.01, 0.1, 1] })[state.scale];
const percent = (share) => `${+(100 * share).toPrecision(2)} %`;

function toCanvas(canvas, scene, ratio = devicePixelRatio || 1) {
  canvas.width = Math.round(scene.width * ratio);
  canvas.height = Math.round(scene.height * ratio);
  canvas.style.width = `${scene.width}px`;
  canvas.style.height = `${scene.height}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  paint(context, scene);
}

function paint(context, scene) {
  context.imageSmoothingEnabled = false;
  for (const one of scene.shapes) {
    context.save();
    if (!one.text && !one.free) {
      context.beginPath();
      context.rect(scene.left, scene.top, scene.w, scene.h);
      context.clip();
    }
    context.globalAlpha = one.opacity ?? 1;
    if (one.image) context.drawImage(one.image, one.x, one.y, one.w, one.h);
    else if (one.text) {
      context.font = "12px system-ui, sans-serif";
      context.textAlign = { middle: "center", end: "right", start: "left" }[one.anchor];
      context.fillStyle = one.fill;
      context.fillText(one.text, one.x, one.y);
    } else {
      const path = new Path2D(one.path);
      context.lineWidth = one.width ?? 1;
      context.setLineDash(one.dash ? one.dash.split(" ").map(Number) : []);
      if (one.fill) (context.fillStyle = one.fill), context.fill(path);
      if (one.stroke) (context.strokeStyle = one.stroke), context.stroke(path);
    }
    context.restore();
  }
}

/** A file of its own; built in a document apart, which loads nothing. */
function toSVG(scenes, titles) {
  const gap = 16, line = 26, paper = document.implementation.createDocument(SVG, "svg");
  const add = (parent, name, attributes, text = "") => {
    const one = parent.appendChild(paper.createElementNS(SVG, name));
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    one.textContent = text;
    return one;
  };
  const root = paper.documentElement;
  const width = scenes.reduce((sum, one) => sum + one.width + gap, -gap);
  const height = line + Math.max(...scenes.map((one) => one.height));
  const about = { width, height, viewBox: `0 0 ${width} ${height}`, "font-family": "system-ui, sans-serif", "font-size": 12 };
  for (const [key, value] of Object.entries(about)) root.setAttribute(key, value);
  add(root, "rect", { width, height, fill: css("--page") });
  let across = 0;
  scenes.forEach((scene, number) => {
    const group = add(root, "g", { transform: `translate(${across} ${line})` });
    add(group, "text", { x: scene.left, y: -8, fill: css("--ink"), "font-size": 13 }, titles[number]);
    const clip = add(group, "clipPath", { id: `plot${number}` });
    add(clip, "rect", { x: scene.left, y: scene.top, width: scene.w, height: scene.h });
    for (const one of scene.shapes) {
      const common = { opacity: one.opacity ?? 1 };
      if (!one.text && !one.free) common["clip-path"] = `url(#plot${number})`;
      if (one.image) add(group, "image", { x: one.x, y: one.y, width: one.w, height: one.h, preserveAspectRatio: "none", "image-rendering": "pixelated", href: one.image.toDataURL(), ...common });
      else if (one.text) add(group, "text", { x: one.x, y: one.y, "text-anchor": one.anchor, fill: one.fill }, one.text);
      else add(group, "path", { d: one.path, fill: one.fill ?? "none", stroke: one.stroke ?? "none", "stroke-width": one.width ?? 1, "stroke-dasharray": one.dash ?? "none", ...common });
    }
    across += scene.width + gap;
  });
  return new XMLSerializer().serializeToString(paper);
}

// -- contents of the page --

function shownLayers() {
  const second = other(state.place);
  return B ? [["A", A, A.layers[state.place]], ["B", B, second]] : [["", A, A.layers[state.place]]];
}

function drawMaps() {
  const maps = $("maps"), layers = shownLayers();
  const wanted = layers.map(([, , layer]) => (layer ? layer.panels.length : 1)).join();
  const side = layers.length > 1 || A.layers[state.place].panels.length > 1;
  if (maps.dataset.shape !== wanted) {
    maps.dataset.shape = wanted;
    maps.replaceChildren();
    for (const [tag, model, layer] of layers) {
      const column = make("div", { class: "column" });
      if (tag) column.append(make("p", { class: "which" }, make("b", { class: `tag tag-${tag.toLowerCase()}` }, tag), make("span", {}, "")));
      (layer ? layer.panels : [null]).forEach((panel) => {
        const figure = make("figure", {});
        figure.append(panel ? make("canvas", { role: "img" }) : make("p", { class: "empty" }, "No counterpart"));
        if (panel && layer.input_size.length > 2) figure.append(make("figcaption", {}, shadow(layer, panel)));
        column.append(figure);
      });
      maps.append(column);
    }
    maps.classList.toggle("side", layers.length > 1);
    maps.classList.toggle("several", !B && side);
  }
  pictures = [];
  [...maps.children].forEach((column, number) => {
    const [tag, , layer] = layers[number];
    if (tag) column.querySelector(".which span").textContent = layer ? `${layer.layer === A.layers[state.place].layer ? "" : `${layer.layer}: `}ERF ${withError(layer, layer.erf_size, layer.erf_size_error)} px` : "–";
    if (!layer) return;
    column.querySelectorAll("canvas").forEach((canvas, index) => {
      const scene = picture(layer, layer.panels[index], canvas.parentElement.clientWidth);
      scene.tag = tag;
      toCanvas(canvas, scene);
      canvas.setAttribute("aria-label", `Map of ${layer.layer}${tag && ` of ${tag}`}: ${words(layer)}`);
      canvas.onpointermove = canvas.onpointerdown = (event) => readPixel(scene, event);
      pictures.push(scene);
    });
  });
  drawBar(pictures.every((one) => one.flat));
}

function shadow(layer, panel) {
  const all = layer.input_size.map((_, axis) => axis);
  const hidden = all.filter((axis) => !panel.axes.includes(axis));
  return `axes ${panel.axes[0]} ↓ and ${panel.axes[1]} →, summed over ${hidden.join(", ")}`;
}

function words(layer) {
  const edge = layer.past_edge ? ", past the input’s edge" : "";
  const status = layer.status === "exact" ? "" : ` (${layer.status})`;
  return `sees ${by(layer.trf_size)} px${status}${edge} and uses ${withError(layer, layer.erf_size, layer.erf_size_error)} px, ${(100 * layer.ratio).toFixed(0)} %${layer.notes.map((one) => `, ${one}`).join("")}`;
}

function readPixel(scene, event) {
  const { panel, flat, columns, rows, left, top, w, h, layer } = scene;
  const axis = (start, pair, length) => Math.floor(pair[0] + (start / length) * (pair[1] - pair[0]));
  const at = flat ? [axis(event.offsetX - left, columns, w)]
    : [axis(event.offsetY - top, rows, h), axis(event.offsetX - left, columns, w)];
  const shown = flat ? [columns] : [rows, columns];
  if (at.some((one, k) => one < shown[k][0] || one >= shown[k][1])) return;
  const cell = at.map((one, k) => Math.floor((one - panel.start[k]) / panel.step));
  const inside = at.every((one, k) => one >= panel.start[k] && one < panel.start[k] + panel.pixels[k]);
  const share = inside ? decoded(panel).shares[cell.reduce((sum, one, k) => sum * panel.shape[k] + one, 0)] : 0;
  const named = layer.input_size.length === 2 ? ["row", "column"] : layer.input_size.length === 1 ? ["position"] : panel.axes.map((one) => `axis ${one} at`);
  const place = at.map((one, k) => `${named[k]} ${one}`).join(", ");
  const mean = panel.step > 1 && inside ? `, mean of ${panel.step} px a side` : "";
  const value = inside ? `${(share * panel.peak).toPrecision(3)}, ${percent(share)} of the peak` : "not seen";
  $("pixel").textContent = `${scene.tag ? `${scene.tag}, ` : ""}${place}: ${value}${mean}`;
}

function drawBar(flat) {
  const bar = $("colors"), context = bar.getContext("2d");
  bar.parentElement.hidden = flat;
  bar.width = 256;
  for (let i = 0; i < 256; i++) {
    context.fillStyle = rgb(i / 255);
    context.fillRect(i, 0, 1, bar.height);
  }
  $("ticks").replaceChildren(...scaleTicks().map((share) => {
    const one = make("span", {}, share === 1 ? "peak" : percent(share));
    one.style.left = `${100 * shade(share)}%`;
    return one;
  }));
}

function drawFigures() {
  const layers = shownLayers().map(([, , layer]) => layer);
  const list = (values, digits = 1) => values.map((one) => fixed(one, digits)).join(", ");
  const listed = (layer, name) => layer[name].flatMap((one, k) => [make("span", {}, withError(layer, one, layer[`${name}_error`][k])), " "]);
  const rows = {
    "Effective size, px": (l) => withError(l, l.erf_size, l.erf_size_error),
    "Theoretical size, px": (l) => by(l.trf_size),
    "ERF / TRF, %": (l) => withError(l, 100 * l.ratio, l.ratio_error && 100 * l.ratio_error),
    "Size by mass, px": (l) => withError(l, l.mass_size, l.mass_size_error),
    "Half-mass radius, px": (l) => withError(l, l.half_mass_radius, l.half_mass_radius_error),
    "FWHM, px": (l) => listed(l, "fwhm"),
    "Effective pixels": (l) => withError(l, l.effective_pixels, l.effective_pixels_error, 0),
    "Gini coefficient": (l) => withError(l, l.gini, l.gini_error, 2),
    "Gaussian σ, px": (l) => (l.gaussian ? listed(l, "sigma") : "no bell"),
    "Gaussian R²": (l) => withError(l, l.r_squared, l.r_squared_error, 2),
    "Field’s centre": (l) => list(l.trf_center),
    "Centroid": (l) => listed(l, "centroid"),
    "Stride, px": (l) => (l.trf_stride.every((one) => one === null) ? "uneven" : by(l.trf_stride.map((one) => one ?? "uneven"))),
    "Unit": (l) => `(${l.unit.join(", ")}) of ${by(l.output_size)}`,
    "Field is": (l) => l.status + (l.past_edge ? ", past the input’s edge" : ""),
    "Samples": (l) => (l.expected ? `none: expected of ${l.expected} weights` : `${l.samples}${l.linear ? " (linear unit)" : ""}${l.dead ? `, ${(100 * l.dead).toFixed(0)} % dead` : ""}`),
    "Definition": (l) => l.definition,
    "Notes": (l) => l.notes.join("; ") || "none",
  };
  const body = Object.entries(rows).map(([name, tell]) => make("tr", {}, make("th", { scope: "row" }, name), ...layers.map((one) => make("td", {}, ...[one ? tell(one) : "–"].flat()))));
  if (B) body.unshift(make("tr", {}, make("td", {}), make("th", { scope: "col" }, "A"), make("th", { scope: "col" }, "B")));
  $("figures").replaceChildren(...body);
  $("provenance").replaceChildren(...shownLayers().filter(([, , layer]) => layer).map(([tag, model, layer]) => {
    const about = { input: layer.input, stopped_by: layer.stopped_by, ...model.provenances[layer.provenance] };
    return make("pre", {}, (tag ? `${tag}\n` : "") + JSON.stringify(about, null, 1));
  }));
}

const ROW = 28;
function drawNetwork() {
  const graph = $("graph"), lanes = Math.max(...A.layers.map((one) => one.lane)) + 1, shown = shownPlaces();
  const apart = Math.min(14, 84 / lanes), gutter = lanes * apart + 12;
  const x = (place) => 10 + A.layers[place].lane * apart, y = (place) => (shown.indexOf(place) + 0.5) * ROW;
  const svg = make("svg", { width: gutter, height: shown.length * ROW, "aria-hidden": "true" });
  // What a folded layer depends on, and what depends on it, its outer one does.
  const owner = (place) => (hidden(place) ? A.layers[place].around : place);
  const edges = A.edges.map((ends) => ends.map(owner)).filter(([start, stop]) => start < stop);
  const reached = new Set(edges.map(([, stop]) => stop));
  shown.forEach((place) => {
    if (!reached.has(place)) svg.append(make("path", { d: `M${x(place)} ${y(place)}v${-ROW / 2}`, class: "edge start" }));
  });
  for (const [start, stop] of edges) {
    const bend = y(stop) - 0.8 * ROW;
    const way = x(start) === x(stop) ? `V${y(stop)}` : `V${Math.max(bend, y(start))}C${x(start)} ${y(stop) - 0.3 * ROW} ${x(stop)} ${bend} ${x(stop)} ${y(stop)}`;
    svg.append(make("path", { d: `M${x(start)} ${y(start)}${way}`, class: "edge" }));
  }
  shown.forEach((place) => svg.append(make("circle", { cx: x(place), cy: y(place), r: 4, class: "node", "data-place": place })));
  const rows = shown.map((place) => {
    const layer = A.layers[place];
    const bar = make("i", { class: "share" }), full = make("b", {});
    full.style.width = `${clamp(100 * layer.ratio, 0, 100)}%`;
    bar.append(full);
    const row = make("div", { role: "option", id: `row${place}`, "data-place": place, title: `${layer.layer}: ${words(layer)}` }, make("span", {}, layer.layer), bar);
    row.style.paddingLeft = `${gutter + (layer.around === null ? 0 : 10)}px`;
    row.addEventListener("click", () => choose(place));
    return row;
  });
  graph.replaceChildren(svg, ...rows);
}

function drawChart() {
  const holder = $("chart"), width = holder.clientWidth, height = 250;
  const left = 44, right = width - 14, top = 12, bottom = height - 34;
  const points = A.layers.map((layer, place) => ({ place, depth: layer.depth, trf: layer.trf_mean, erf: layer.erf_size, error: known(layer, layer.erf_size_error) ? layer.erf_size_error : 0, b: other(place)?.erf_size ?? null })).filter(({ place }) => !hidden(place));
  const depths = points.map((one) => one.depth), [low, high] = [Math.min(...depths), Math.max(...depths)];
  const sizes = points.flatMap((one) => [one.trf, one.erf, one.b ?? one.erf]), most = Math.max(...sizes), least = Math.max(Math.min(...sizes), 0.5);
  // As in `plot_profile`: logarithmic if most layers would be crowded near zero.
  const log = points.filter((one) => one.erf < most / 8).length > points.length / 2;
  const x = (depth) => (high === low ? (left + right) / 2 : left + 8 + ((right - left - 16) * (depth - low)) / (high - low));
  const y = (size) => bottom - (bottom - top) * (log ? Math.log(Math.max(size, least) / least) / Math.log((1.15 * most) / least) : size / (1.08 * most));
  const svg = make("svg", { width, height, role: "img", "aria-label": `Effective and theoretical size over depth, ${log ? "logarithmic" : "linear"}; the table below has the values` });
  const levels = log ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].filter((one) => one >= least && one <= 1.15 * most) : ticks(0, 1.08 * most, 5);
  for (const level of levels) {
    svg.append(make("line", { x1: left, x2: right, y1: y(level), y2: y(level), class: "grid" }), make("text", { x: left - 6, y: y(level) + 4, "text-anchor": "end" }, `${level}`));
  }
  for (const depth of ticks(low, high, clamp(width / 70, 3, 12))) svg.append(make("text", { x: x(depth), y: bottom + 17, "text-anchor": "middle" }, `${depth}`));
  svg.append(make("text", { x: right, y: height - 3, "text-anchor": "end" }, "depth"), make("text", { x: left - 6, y: height - 3, "text-anchor": "end" }, "px"));
  svg.append(make("line", { id: "cursor", y1: top, y2: bottom, class: "cursor" }));
  const sorted = [...points].sort((a, b) => a.depth - b.depth || a.place - b.place);
  const series = [["trf", "trf"], ["erf", "erf"], ...(B ? [["b", "erf-b"]] : [])];
  for (const [key, name] of series) {
    const there = sorted.filter((one) => one[key] !== null);
    // At each depth, the line joins the layers with the largest field.
    const joined = there.filter((one) => !there.some((it) => it.depth === one.depth && (it.trf > one.trf || (it.trf === one.trf && it.place > one.place))));
    svg.append(make("path", { d: joined.map((one, i) => `${i ? "L" : "M"}${x(one.depth)} ${y(one[key])}`).join(""), class: `line ${name}` }));
    for (const one of there) {
      if (key === "erf" && one.error) svg.append(make("line", { x1: x(one.depth), x2: x(one.depth), y1: y(one.erf - one.error), y2: y(one.erf + one.error), class: "erf error" }));
      svg.append(make("circle", { cx: x(one.depth), cy: y(one[key]), r: points.length > 60 ? 2.5 : 3.5, class: `dot ${name}`, "data-place": one.place }, make("title", {}, `${A.layers[one.place].layer}: ${one[key].toFixed(1)} px`)));
    }
  }
  svg.addEventListener("click", (event) => {
    const box = svg.getBoundingClientRect(), [px, py] = [event.clientX - box.left, event.clientY - box.top];
    const far = (one) => 1000 * Math.abs(x(one.depth) - px) + Math.min(...series.map(([key]) => (one[key] === null ? 1e6 : Math.abs(y(one[key]) - py))));
    choose(points.reduce((best, one) => (far(one) < far(best) ? one : best)).place);
  });
  svg.cursorAt = (place) => ["x1", "x2"].forEach((name) => svg.querySelector("#cursor").setAttribute(name, x(A.layers[place].depth)));
  const legend = make("p", { class: "legend" });
  for (const [name, text] of [["trf", "theoretical"], ["erf", B ? "effective, A" : "effective"], ...(B ? [["erf-b", "effective, B"]] : [])]) legend.append(make("span", { class: name }, make("i"), text));
  holder.replaceChildren(legend, svg);
  markChart();
}

function markChart() {
  const svg = $("chart").querySelector("svg");
  svg.cursorAt(state.place);
  svg.querySelectorAll(".dot").forEach((one) => one.classList.toggle("chosen", +one.dataset.place === state.place));
}

function choose(place, focus = false) {
  const shown = shownPlaces(), [first, last] = [shown[0], shown[shown.length - 1]], on = place > state.place;
  // Of a folded layer the next one that is shown, in the direction of the step.
  const next = on ? shown.find((one) => one >= place) : shown.findLast((one) => one <= place);
  state.place = next ?? (on ? last : first);
  const layer = A.layers[state.place];
  $("layer").textContent = layer.layer;
  $("words").textContent = B ? `Theoretical field ${by(layer.trf_size)} px, depth ${layer.depth}` : `The unit ${words(layer)}.`;
  $("depth").value = state.place;
  $("depth").setAttribute("aria-valuetext", layer.layer);
  $("place").textContent = `${shown.indexOf(state.place) + 1} / ${shown.length}`;
  $("previous").disabled = state.place === first;
  $("next").disabled = state.place === last;
  for (const row of $("graph").querySelectorAll("[role=option]")) {
    const chosen = +row.dataset.place === state.place;
    row.setAttribute("aria-selected", chosen);
    row.tabIndex = chosen ? 0 : -1;
    if (chosen) {
      // Scrolls only inside its box, so that the page does not jump.
      const graph = $("graph"), above = row.offsetTop - graph.clientHeight / 2;
      if (row.offsetTop < graph.scrollTop + ROW || row.offsetTop > graph.scrollTop + graph.clientHeight - 2 * ROW) graph.scrollTop = above;
      if (focus) row.focus({ preventScroll: true });
    }
  }
  $("graph").querySelectorAll(".node").forEach((one) => one.classList.toggle("chosen", +one.dataset.place === state.place));
  for (const row of $("table").tBodies[0].rows) row.classList.toggle("chosen", +row.dataset.place === state.place);
  markChart();
  drawMaps();
  drawFigures();
}

function play(on) {
  clearInterval(state.timer);
  state.timer = null;
  $("play").setAttribute("aria-pressed", on);
  $("play").textContent = on ? "Pause" : "Play";
  // Not announced while it plays: a screen reader would never stop.
  $("layer").setAttribute("aria-live", on ? "off" : "polite");
  if (!on) return;
  if (state.place === LAST) choose(0);
  state.timer = setInterval(() => {
    choose(state.place + 1);
    if (state.place === LAST) play(false);
  }, clamp(12000 / (LAST + 1), 150, 800));
}

function setRadio(name, value) {
  document.querySelector(`input[name=${name}][value=${value}]`).checked = true;
  state[name] = value;
  drawMaps();
}

// -- the table --

const KEYS = {
  layer: (l) => l.layer, depth: (l) => l.depth, trf: (l) => l.trf_mean, erf: (l) => l.erf_size, share: (l) => l.ratio,
  erf_b: (l, b) => b?.erf_size ?? null, change: (l, b) => (b ? b.erf_size / l.erf_size : null), sigma: (l) => (l.gaussian ? l.sigma[0] : null),
  r_squared: (l) => l.r_squared, samples: (l) => l.samples, dead: (l) => l.dead, status: (l) => l.status,
};

function sortBy(header) {
  const up = header.getAttribute("aria-sort") !== "ascending", key = KEYS[header.dataset.key];
  const value = (row) => key(A.layers[row.dataset.place], other(row.dataset.place));
  for (const one of $("table").tHead.rows[0].cells) one.setAttribute("aria-sort", one === header ? (up ? "ascending" : "descending") : "none");
  const rows = [...$("table").tBodies[0].rows].sort((first, second) => {
    const [a, b] = [value(first), value(second)];
    // Missing values come last in both orders.
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
    return (up ? order : -order) || first.dataset.place - second.dataset.place;
  });
  $("table").tBodies[0].append(...rows);
}

// -- files --

function save(blob, suffix) {
  const link = make("a", { href: URL.createObjectURL(blob), download: `${document.title.replace(/[^\w.-]+/g, "_").slice(0, 60)}${suffix}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

const ofLayer = (suffix) => `-${A.layers[state.place].layer.replace(/[^\w.-]+/g, "_").slice(0, 60)}${suffix}`;
const titled = () => pictures.map((one) => `${one.tag ? `${one.tag}: ` : ""}${one.layer.layer}`);

const SAVES = {
  png() {
    const ratio = 2, gap = 16, line = 26, canvas = document.createElement("canvas");
    canvas.width = ratio * pictures.reduce((sum, one) => sum + one.width + gap, -gap);
    canvas.height = ratio * (line + Math.max(...pictures.map((one) => one.height)));
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.fillStyle = css("--page");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.translate(0, line);
    pictures.forEach((scene, number) => {
      context.font = "13px system-ui, sans-serif";
      context.fillStyle = css("--ink");
      context.fillText(titled()[number], scene.left, -8);
      paint(context, scene);
      context.translate(scene.width + gap, 0);
    });
    canvas.toBlob((blob) => save(blob, ofLayer(".png")));
  },
  svg() {
    save(new Blob([toSVG(pictures, titled())], { type: "image/svg+xml" }), ofLayer(".svg"));
  },
  csv() {
    const names = ["trf_size", "erf_size", "erf_size_error", "ratio", "ratio_error", "mass_size", "mass_size_error", "half_mass_radius", "half_mass_radius_error", "mass_radii", "mass_radii_error", "fwhm", "fwhm_error", "entropy", "entropy_error", "effective_pixels", "effective_pixels_error", "gini", "gini_error", "sigma", "r_squared", "samples", "dead", "status", "definition", "notes"];
    const cell = (value) => {
      const text = Array.isArray(value) ? value.map((one) => one ?? "").join(" ") : `${value ?? ""}`;
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const row = (layer) => names.map((one) => (one === "notes" ? layer?.notes.join("; ") : layer?.[one]));
    const rows = [["layer", "depth", ...names, ...(B ? ["layer_b", ...names.map((one) => `${one}_b`)] : [])]];
    A.layers.forEach((layer, place) => {
      const second = other(place);
      rows.push([layer.layer, layer.depth, ...row(layer), ...(B ? [second?.layer, ...row(second)] : [])]);
    });
    save(new Blob([rows.map((row) => row.map(cell).join(",") + "\n").join("")], { type: "text/csv" }), ".csv");
  },
  json() {
    const models = DATA.models.map((model) => ({ ...model, layers: model.layers.map(({ panels, ...figures }) => figures) }));
    save(new Blob([JSON.stringify({ title: document.title, models, pairs: DATA.pairs }, null, 1)], { type: "application/json" }), ".json");
  },
};

// -- keyboard and pointer --

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  const target = event.target, kind = target.type ?? target.tagName;
  const inGraph = $("graph").contains(target);
  const own = ["range", "radio"].includes(kind);
  const scrolls = !!target.closest(".scroll");
  const act = {
    ArrowRight: own || scrolls ? null : () => choose(state.place + 1, inGraph),
    ArrowLeft: own || scrolls ? null : () => choose(state.place - 1, inGraph),
    ArrowDown: inGraph ? () => choose(state.place + 1, true) : null,
    ArrowUp: inGraph ? () => choose(state.place - 1, true) : null,
    Home: own ? null : () => choose(0, inGraph),
    End: own ? null : () => choose(LAST, inGraph),
    " ": target.closest("button, input, summary") && kind !== "range" ? null : () => play(!state.timer),
    s: () => setRadio("scale", SCALES[(SCALES.indexOf(state.scale) + 1) % SCALES.length]),
    v: () => setRadio("view", state.view === "field" ? "input" : "field"),
    "/": () => $("help").showModal(),
    "?": () => $("help").showModal(),
  }[event.key];
  if (!act) return;
  event.preventDefault();
  if (event.key.startsWith("Arrow")) play(false);
  act();
}

document.addEventListener("keydown", onKey);
$("previous").addEventListener("click", () => (play(false), choose(state.place - 1)));
$("next").addEventListener("click", () => (play(false), choose(state.place + 1)));
$("play").addEventListener("click", () => play(!state.timer));
$("depth").addEventListener("input", () => (play(false), choose(+$("depth").value)));
$("help-button").addEventListener("click", () => $("help").showModal());
$("help").querySelector("button").addEventListener("click", () => $("help").close());
$("options").addEventListener("change", ({ target }) => (target.type === "radio" ? setRadio(target.name, target.value) : drawMaps()));
$("downloads").addEventListener("click", ({ target }) => SAVES[target.dataset.kind]?.());
$("table").tHead.addEventListener("click", ({ target }) => target.closest("th") && sortBy(target.closest("th")));
$("table").tBodies[0].addEventListener("click", ({ target }) => choose(+target.closest("tr").dataset.place));
$("inside")?.addEventListener("change", ({ target }) => {
  state.inside = target.checked;
  document.body.classList.toggle("folded", !state.inside);
  drawNetwork();
  drawChart();
  choose(state.place);
});
dark.addEventListener("change", drawMaps);
let width = 0;
new ResizeObserver(() => {
  if (width !== (width = document.body.clientWidth)) drawChart(), drawMaps();
}).observe(document.body);

document.body.classList.add("folded");
$("depth").max = LAST;
drawNetwork();
drawChart();
choose(LAST);
})();
