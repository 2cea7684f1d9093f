// One camera: its picture, its tags, and how well the machine keeps up with it.
import { Chart } from "./charts.js";
import { duration, el, percent } from "./dom.js";
import { Picture, unpackMap } from "./picture.js";
import { Tags } from "./tags.js";

const ROWS = 5;
const DESCRIBE = 2000;
const STATES = { starting: "starting", live: "live", lost: "lost", ended: "ended" };

export class CameraCard {
  /** `lookFor(label or null)` asks for a label's attention map with the pictures. */
  constructor({ name, uri, region }, labels, lookFor) {
    this.name = name;
    this.labels = labels;
    this.lookFor = lookFor;
    this.state = "";
    this.described = 0;
    this.canvas = el("canvas", { role: "img", "aria-label": `${name}: no picture yet`, width: 640, height: 360 });
    this.picture = new Picture(this.canvas, region);
    this.notice = el("p", { class: "notice", hidden: "" });
    this.caption = el("p", { class: "caption", hidden: "" });
    this.chip = el("span", { class: "chip" }, "starting");
    this.facts = el("p", { class: "facts" });
    this.tags = new Tags(ROWS, (label) => this.choose(label));
    this.ages = new Chart("Age of the tags", [
      { name: "slowest", css: "slow" },
      { name: "median", css: "quick", fill: true },
    ], duration);
    this.frames = new Chart("Frames a second", [
      { name: "dropped", css: "lost" },
      { name: "tagged", css: "quick", fill: true },
    ], (value) => `${Math.round(value)}`);
    this.element = el(
      "article",
      { class: "camera panel", "data-camera": name, "aria-label": `Camera ${name}` },
      el("div", { class: "view" }, this.canvas, this.notice, this.caption),
      el("div", { class: "bar" }, el("h2", { title: uri }, name), this.chip),
      this.tags.element,
      el("div", { class: "charts" }, this.ages.element, this.frames.element),
      this.facts,
    );
  }

  async show(header, jpeg) {
    const image = await createImageBitmap(jpeg);
    const map = header.map?.label === this.tags.chosen ? unpackMap(header.map) : null;
    this.picture.draw(image, map);
    image.close();
    this.canvas.dataset.map = map ? header.map.label : "";
    this.canvas.dataset.time = header.time;
    const tags = header.tags.map(([label, score, threshold]) => [this.labels[label], score, threshold]);
    this.tags.show(tags);
    this.describe(tags);
  }

  /** For those who can't see it: what the picture shows, not with every frame. */
  describe(tags) {
    if (performance.now() - this.described < DESCRIBE) return;
    this.described = performance.now();
    const there = tags.filter(([, score, threshold]) => score >= threshold);
    const text = there.map(([label, score]) => `${label} ${percent(score)}`).join(", ");
    this.canvas.setAttribute("aria-label", `${this.name}: ${text || "no tags"}`);
  }

  choose(label) {
    this.caption.hidden = label === null;
    this.caption.textContent = label === null ? "" : `where the model looks for ${label}`;
    this.lookFor(label);
  }

  /** Shows the figures; returns what changed, in words, or nothing. */
  setFigures(figures) {
    const { state, reason } = figures;
    const changed = this.state !== state;
    const first = this.state === "";
    this.state = state;
    this.chip.textContent = STATES[state];
    this.chip.className = `chip ${state === "live" ? "good" : state === "lost" ? "bad" : ""}`;
    this.element.classList.toggle("away", state === "lost" || state === "ended");
    this.notice.hidden = state === "live";
    this.notice.textContent = { starting: "waiting for the first picture", lost: `lost: ${reason}`, ended: reason }[state] ?? "";
    const facts = [`${figures.tagged} tagged`, `${figures.dropped} dropped`, `${figures.late} late`];
    if (figures.size) facts.unshift(`${figures.size[1]} × ${figures.size[0]}`, `${figures.fps.toFixed(1)} frames/s`);
    if (figures.reconnects) facts.push(`${figures.reconnects} reconnects`);
    // A line ends between two of them, never between a number and its unit.
    this.facts.textContent = facts.map((fact) => fact.replaceAll(" ", "\u00a0")).join(" · ");
    return changed && !first ? `Camera ${this.name} is ${STATES[state]}` : "";
  }

  addHistory(times, rows) {
    times.forEach((time, index) => this.addSecond(time, rows[index], false));
    this.draw();
  }

  /** `row`: median and largest age in seconds, frames tagged, dropped and late in that second. */
  addSecond(time, [median, largest, tagged, dropped], draw = true) {
    this.ages.add(time, [largest, median]);
    this.frames.add(time, [dropped, tagged]);
    if (draw) this.draw();
  }

  draw() {
    this.ages.draw();
    this.frames.draw();
  }
}
