// A small line chart of the last minutes, with its newest values as text.
import { el, svg } from "./dom.js";

const SECONDS = 180;
const WIDTH = 300;
const HEIGHT = 56;

export class Chart {
  /** `series`: `{name, css, fill}`; `write(value)` formats a value. */
  constructor(title, series, write) {
    this.title = title;
    this.series = series;
    this.write = write;
    this.points = [];
    this.paths = series.map(({ css, fill }) => svg("path", { class: `${css} ${fill ? "area" : "line"}` }));
    this.top = el("span", { class: "top" });
    this.svg = svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
      ...this.paths,
    );
    this.values = series.map(({ css }) => el("b", { class: css }));
    const legend = series.map(({ name }, index) => el("span", {}, this.values[index], ` ${name}`)).reverse();
    this.element = el(
      "figure",
      { class: "chart" },
      el("figcaption", {}, el("span", {}, title), this.top),
      this.svg,
      el("p", { class: "legend" }, ...legend),
    );
  }

  /** Adds the values of a second, in the order of the series; null if there is none. */
  add(time, values) {
    this.points.push([time, values]);
    while (this.points.length && this.points[0][0] < time - SECONDS) this.points.shift();
  }

  draw() {
    if (!this.points.length) return;
    const [now, newest] = this.points[this.points.length - 1];
    const largest = Math.max(...this.points.flatMap(([, values]) => values.map((value) => value ?? 0)));
    const most = roundUp(largest);
    const across = (time) => WIDTH * (1 - (now - time) / SECONDS);
    const down = (value) => (HEIGHT - 2) * (1 - value / most) + 1;
    this.series.forEach(({ fill }, index) => {
      this.paths[index].setAttribute("d", trace(this.points, index, across, down, fill));
      const value = newest[index];
      this.values[index].textContent = value === null ? "–" : this.write(value);
    });
    this.top.textContent = this.write(most);
    const words = this.series.map(({ name }, index) => `${name} ${this.values[index].textContent}`);
    this.svg.setAttribute("aria-label", `${this.title}: ${words.join(", ")}`);
  }
}

/** The path of a series, with a gap where a value is missing; closed along the axis if it is filled. */
function trace(points, index, across, down, fill) {
  const pieces = [];
  let run = [];
  const end = () => {
    if (!run.length) return;
    const line = run.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
    const [first, last] = [run[0][0].toFixed(1), run[run.length - 1][0].toFixed(1)];
    pieces.push(fill ? `M${first} ${HEIGHT}L${line}L${last} ${HEIGHT}Z` : `M${line}`);
    run = [];
  };
  for (const [time, values] of points) {
    if (values[index] === null) end();
    else run.push([across(time), down(values[index])]);
  }
  end();
  return pieces.join("");
}

/** The smallest of 1, 2, 5, 10, 20, ... (times a power of ten) that is not below the value. */
function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value * 0.999);
}
