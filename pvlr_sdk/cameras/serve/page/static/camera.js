// The card of a camera: its video, its tags and its charts.
import { Canvas } from "./canvas.js";
import { Chart } from "./charts.js";
import { duration, el } from "./dom.js";
import { Regions } from "./regions.js";
import { Tags } from "./tags.js";
import { TeachPanel } from "./teach.js";

const ROWS = 5;
const DESCRIBE = 2000;

export class CameraCard {
  /** `request(kind, label or null)` requests the attention map (`map`) or the score (`pin`) of a label with each frame. */
  constructor({ name, uri, region, regions }, request) {
    this.name = name;
    this.request = request;
    this.state = "";
    this.described = 0;
    this.canvas = el("canvas", { role: "img", "aria-label": `${name}: no frame yet`, width: 640, height: 360 });
    this.view = new Canvas(this.canvas);
    this.region = region;
    this.regions = new Regions(name, regions);
    this.notice = el("p", { class: "notice", hidden: "" });
    this.caption = el("p", { class: "caption", hidden: "" });
    this.chip = el("span", { class: "chip" }, "starting");
    this.facts = el("p", { class: "facts" });
    this.tags = new Tags(ROWS, (label) => this.choose(label));
    this.time = null;
    this.teach = new TeachPanel(name, () => this.time, (label) => this.pin(label));
    this.ages = new Chart("Age of the results", ["slowest", "median"], duration);
    this.frames = new Chart("Frames per second", ["dropped", "tagged"], (value) => `${Math.round(value)}`);
    this.element = el(
      "article",
      { class: "camera panel", "data-camera": name, "aria-label": `Camera ${name}` },
      el("div", { class: "view" }, el("div", { class: "picture" }, this.canvas, this.regions.pad), this.notice, this.caption),
      el("div", { class: "bar" }, el("h2", { title: uri }, name), this.chip),
      this.tags.element,
      this.teach.element,
      this.regions.element,
      el("div", { class: "charts" }, this.ages.element, this.frames.element),
      this.facts,
    );
  }

  async show(header, jpeg) {
    const image = await createImageBitmap(jpeg);
    const map = header.map?.label === this.tags.chosen ? header.map : null;
    this.view.draw(image, map, this.regions.none ? this.region : null);
    this.regions.resize(image.width, image.height);
    image.close();
    this.canvas.dataset.map = map ? header.map.label : "";
    this.canvas.dataset.time = header.time;
    this.time = header.time;
    this.tags.show(header.tags);
    this.describe(header.tags);
  }

  /** A text alternative for screen readers, updated every two seconds. */
  describe(tags) {
    if (performance.now() - this.described < DESCRIBE) return;
    this.described = performance.now();
    const present = tags.filter(([, score, threshold]) => score >= threshold);
    const text = present.map(([label, score]) => `${label} ${score.toFixed(2)}`).join(", ");
    this.canvas.setAttribute("aria-label", `${this.name}: ${text || "no tags"}`);
  }

  choose(label) {
    this.caption.hidden = label === null;
    this.caption.textContent = label === null ? "" : `where the model looks for ${label}`;
    this.request("map", label);
  }

  pin(label) {
    this.tags.pinned = label;
    this.request("pin", label);
  }

  /** Shows the statistics; returns a message if the state has changed. */
  setStats(stats) {
    const { state, reason } = stats;
    const changed = this.state !== state;
    const first = this.state === "";
    this.state = state;
    this.chip.textContent = state;
    this.chip.className = `chip ${state === "live" ? "good" : state === "lost" ? "bad" : ""}`;
    this.element.classList.toggle("away", ["paused", "lost", "ended"].includes(state));
    this.notice.hidden = state === "live";
    const over = stats.captured ? "This video has ended. Start the server with --loop to repeat it." : `cannot be shown: ${reason}`;
    this.notice.textContent = { starting: "waiting for the first frame", paused: `paused: ${reason}`, lost: `lost: ${reason}`, ended: over }[state] ?? "";
    const facts = [`${stats.tagged} tagged`, `${stats.dropped} dropped`, `${stats.late} late`];
    if (stats.size) facts.unshift(`${stats.size[1]} × ${stats.size[0]}`, `${stats.fps.toFixed(1)} frames/s`);
    if (stats.computed < stats.tiles) facts.push(`${Math.round((100 * stats.computed) / stats.tiles)} % computed`);
    if (stats.reconnects) facts.push(`${stats.reconnects} reconnects`);
    // No line break between a number and its unit.
    this.facts.textContent = facts.map((fact) => fact.replaceAll(" ", "\u00a0")).join(" · ");
    return changed && !first ? `Camera ${this.name} is ${state}` : "";
  }

  addHistory(times, rows) {
    times.forEach((time, index) => this.addSecond(time, rows[index], false));
    this.draw();
  }

  /** `row`: median and maximum age in seconds, frames tagged, dropped and late in this second. */
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
