// A small line chart of the last minutes, with its newest values as text.
import { el, svg } from "./dom.js";

const SECONDS = 180;
const WIDTH = 300;
const HEIGHT = 56;

export class Chart {
  /** A line, and in front of it a filled one, with these `names`; `write(value)` formats a value. */
  constructor(title, names, write) {
    Object.assign(this, { title, names, write, points: [] });
    this.paths = ["slow line", "quick area"].map((style) => svg("path", { class: style }));
    this.values = ["slow", "quick"].map((style) => el("b", { class: style }));
    this.top = el("span", { class: "top" });
    this.svg = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, ...this.paths);
    const legend = names.map((name, index) => el("span", {}, this.values[index], ` ${name}`)).reverse();
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
    this.paths.forEach((path, index) => {
      path.setAttribute("d", trace(this.points, index, across, down, index === 1));
      const value = newest[index];
      this.values[index].textContent = value === null ? "–" : this.write(value);
    });
    this.top.textContent = this.write(most);
    const words = this.names.map((name, index) => `${name} ${this.values[index].textContent}`);
    this.svg.setAttribute("aria-label", `${this.title}: ${words.join(", ")}`);
  }
}

/** The path of a series through the values that there are; closed along the axis if it is filled. */
function trace(points, index, across, down, fill) {
  const known = points.filter(([, values]) => values[index] !== null);
  if (!known.length) return "";
  const line = known.map(([time, values]) => `${across(time).toFixed(1)} ${down(values[index]).toFixed(1)}`).join("L");
  const [first, last] = [known[0], known[known.length - 1]].map(([time]) => across(time).toFixed(1));
  return fill ? `M${first} ${HEIGHT}L${line}L${last} ${HEIGHT}Z` : `M${line}`;
}

/** The smallest of 1, 2, 5, 10, 20, ... (times a power of ten) that is not below the value. */
function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value * 0.999);
}
