"use strict";

// Elements are built from tags, attributes and text, never from markup: labels and files may have any name.
function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

const NAMESPACE = document.getElementById("namespace").namespaceURI;

function shape(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(NAMESPACE, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const percent = (value, digits = 1) => (value === null || value === undefined ? "–" : (100 * value).toFixed(digits));
const runClass = (index) => `run-${index % 8}`;

// Round numbers that cover [low, high] in about `count` steps.
function ticks(low, high, count, whole = false) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough * 0.999);
  if (whole) step = Math.max(1, Math.round(step));
  const values = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) values.push(i * step);
  const digits = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
  return values.map((value) => ({ value, text: value.toFixed(digits) }));
}

const MARGIN = { left: 46, right: 12, top: 10, bottom: 40 };

// A line chart as wide as its host. The pointer or the arrow keys move a cursor; the legend shows the values there.
//
// series: [{run, name, note, lines: [{points: [[x, y], ...], dashed}], dots, mark: [x, y] or null}]
// x, y: {label, low, high, whole}; describe(x, y): text of the legend at the cursor.
function lineChart(host, { series, x, y, height, describe }) {
  let cursor = null;
  const legend = element("ul", { class: "legend", "aria-live": "polite" });
  const canvas = element("div");
  host.replaceChildren(canvas, legend);
  const everyX = [...new Set(series.flatMap((one) => one.lines.flatMap((line) => line.points.map((p) => p[0]))))];
  everyX.sort((a, b) => a - b);

  function nearest(one, at) {
    let best = null;
    for (const line of one.lines) {
      for (const point of line.points) {
        if (best === null || Math.abs(point[0] - at) < Math.abs(best[0] - at)) best = point;
      }
    }
    return best;
  }

  function drawLegend() {
    legend.replaceChildren(
      ...series.map((one) => {
        const point = cursor === null ? null : nearest(one, cursor);
        const text = point ? describe(point[0], point[1]) : one.note;
        const swatch = element("span", { class: `swatch ${runClass(one.run)}`, "aria-hidden": "true" });
        return element("li", {}, swatch, one.name, element("small", {}, text));
      }),
    );
  }

  function draw() {
    const width = Math.max(240, canvas.clientWidth);
    const tall = height(width);
    const toX = (value) => MARGIN.left + ((value - x.low) / (x.high - x.low)) * (width - MARGIN.left - MARGIN.right);
    const toY = (value) => tall - MARGIN.bottom - ((value - y.low) / (y.high - y.low)) * (tall - MARGIN.top - MARGIN.bottom);
    const label = `${y.label} by ${x.label}. Arrow keys move through the values.`;
    const svg = shape("svg", { viewBox: `0 0 ${width} ${tall}`, height: tall, tabindex: 0, role: "img", "aria-label": label });
    for (const tick of ticks(y.low, y.high, 5)) {
      const at = toY(tick.value);
      svg.append(shape("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: at, y2: at }));
      svg.append(shape("text", { class: "tick", x: MARGIN.left - 8, y: at + 4, "text-anchor": "end" }, tick.text));
    }
    for (const tick of ticks(x.low, x.high, Math.min(10, width / 60), x.whole)) {
      const at = toX(tick.value);
      svg.append(shape("text", { class: "tick", x: at, y: tall - MARGIN.bottom + 18, "text-anchor": "middle" }, tick.text));
    }
    const middle = (MARGIN.left + width - MARGIN.right) / 2;
    svg.append(shape("text", { class: "tick", x: middle, y: tall - 4, "text-anchor": "middle" }, x.label));
    series.forEach((one, index) => {
      // Lower lines are wider, so that coinciding lines stay visible.
      const stroke = 2.2 + 1.5 * Math.min(3, series.length - 1 - index);
      for (const { points, dashed } of one.lines) {
        const path = points.map(([px, py]) => `${toX(px).toFixed(1)},${toY(py).toFixed(1)}`).join(" ");
        const kind = `line ${runClass(one.run)}${dashed ? " dashed" : ""}`;
        svg.append(shape("polyline", { class: kind, points: path, "stroke-width": stroke }));
        if (!one.dots && points.length > 1) continue;
        for (const [px, py] of points) svg.append(shape("circle", { class: `dot ${runClass(one.run)}`, cx: toX(px), cy: toY(py), r: 3.5 }));
      }
      if (one.mark) svg.append(shape("circle", { class: `mark ${runClass(one.run)}`, cx: toX(one.mark[0]), cy: toY(one.mark[1]), r: 5 }));
    });
    const line = shape("line", { class: "cursor", y1: MARGIN.top, y2: tall - MARGIN.bottom, visibility: "hidden" });
    svg.append(line);

    function moveTo(value) {
      cursor = value;
      line.setAttribute("visibility", value === null ? "hidden" : "visible");
      if (value !== null) for (const side of ["x1", "x2"]) line.setAttribute(side, toX(value));
      drawLegend();
    }
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const share = (event.clientX - box.left - MARGIN.left) / (width - MARGIN.left - MARGIN.right);
      const value = x.low + Math.min(1, Math.max(0, share)) * (x.high - x.low);
      moveTo(everyX.reduce((best, one) => (Math.abs(one - value) < Math.abs(best - value) ? one : best), everyX[0]));
    });
    svg.addEventListener("pointerleave", () => moveTo(null));
    svg.addEventListener("blur", () => moveTo(null));
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const at = cursor === null ? (step > 0 ? -1 : everyX.length) : everyX.indexOf(cursor);
      moveTo(everyX[Math.min(everyX.length - 1, Math.max(0, at + step))]);
    });
    canvas.replaceChildren(svg);
    moveTo(cursor);
  }

  host.observer?.disconnect();
  host.observer = new ResizeObserver(() => {
    if (canvas.clientWidth !== canvas.drawn) draw();
    canvas.drawn = canvas.clientWidth;
  });
  host.observer.observe(canvas);
}
