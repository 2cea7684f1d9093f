// The regions of a camera, over its picture: drawn with the mouse, or with the arrow keys and Enter.
import { button, el, request, svg } from "./dom.js";

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const HINT = "Click the corners in the picture, in their order. Or move the cross with the arrow keys (with Shift: further), "
  + "add a corner with Enter and remove the last with Backspace.";

export class Regions {
  constructor(camera, regions) {
    Object.assign(this, { camera, regions, corners: null, cross: [0.5, 0.5] }); // corners: of the region that is drawn
    this.pad = svg("svg", { class: "pad", role: "application", "aria-label": `Draw a region of ${camera}` });
    this.pad.addEventListener("pointerdown", (event) => this.point(event));
    this.pad.addEventListener("keydown", (event) => this.key(event));
    this.name = el("input", { type: "text", id: `region-${camera}`, maxlength: 64 });
    this.exclude = el("input", { type: "checkbox" });
    this.begin = button("Draw", () => this.draw([]));
    this.ends = [button("Save", () => this.save(), { hidden: "" }), button("Cancel", () => this.draw(null), { hidden: "" })];
    this.message = el("p", { class: "hint", role: "status" });
    this.list = el("ul", { class: "latest", "aria-label": `Regions of ${camera}` });
    const fields = [el("label", { for: this.name.id }, "Name"), this.name, el("label", {}, this.exclude, " Exclude")];
    this.element = el("details", { class: "regions" }, el("summary", {}, "Regions"),
      el("div", { class: "filters" }, ...fields, this.begin, ...this.ends), this.message, this.list);
    this.show(HINT);
  }

  /** Whether no region is tagged by itself, so that the camera's rectangle is. */
  get none() {
    return Object.values(this.regions).every((region) => region.exclude);
  }

  /** Shows the regions as they are now, whoever has changed them. */
  use(regions) {
    this.regions = regions;
    this.show();
  }

  /** Sets the size of the picture in pixels. */
  resize(width, height) {
    if (this.pad.getAttribute("viewBox") === `0 0 ${width} ${height}`) return;
    this.pad.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.show();
  }

  /** Begins to draw a region (no corners yet), or ends (null). */
  draw(corners, text = HINT) {
    this.corners = corners;
    this.begin.hidden = corners !== null;
    for (const button of this.ends) button.hidden = corners === null;
    this.pad.classList.toggle("drawing", corners !== null);
    this.pad.toggleAttribute("tabindex", false);
    if (corners) this.pad.setAttribute("tabindex", 0);
    (corners ? this.pad : this.begin).focus();
    this.show(text);
  }

  point(event) {
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.pad.getScreenCTM().inverse());
    const { width, height } = this.pad.viewBox.baseVal;
    this.cross = [x / width, y / height].map(within);
    this.add();
  }

  key(event) {
    const move = MOVES[event.key]?.map((step) => step * (event.shiftKey ? 0.1 : 0.02));
    if (move) this.cross = this.cross.map((value, axis) => within(value + move[axis]));
    if (move) this.show(`Cross at ${this.where()}.`);
    else if (event.key === "Enter") this.add();
    else if (event.key === "Backspace") this.show(this.corners.pop() && `${this.corners.length} corners.`);
    else if (event.key === "Escape") this.draw(null);
    else return;
    event.preventDefault();
  }

  add() {
    this.corners.push(this.cross);
    this.show(`Corner ${this.corners.length} at ${this.where()}.`);
  }

  where() {
    const [x, y] = this.cross.map((value) => Math.round(100 * value));
    return `${x} % from the left, ${y} % from the top`;
  }

  save() {
    const name = this.name.value || this.name.placeholder;
    return this.put({ ...this.regions, [name]: { polygon: this.corners, exclude: this.exclude.checked } });
  }

  async put(regions) {
    try {
      const { state_file } = await request("PUT", `/v1/cameras/${this.camera}/regions`, { regions });
      this.regions = regions;
      this.name.value = ""; // else the next region would replace this one
      this.draw(null, `Changed. ${state_file ? "Kept across restarts." : "It holds until the server stops."}`);
    } catch (error) {
      this.message.textContent = error.message;
    }
  }

  show(text = this.message.textContent) {
    const { width, height } = this.pad.viewBox.baseVal ?? { width: 0, height: 0 };
    const shape = (corners, kind) => svg("polygon", { class: kind, points: corners.map(([x, y]) => [x * width, y * height]).join(" ") });
    const shapes = Object.values(this.regions).map((region) => shape(region.polygon, region.exclude ? "out" : "in"));
    const [x, y, arm] = [this.cross[0] * width, this.cross[1] * height, width / 40];
    const cross = svg("path", { class: "draft", d: `M${x - arm} ${y}h${2 * arm}M${x} ${y - arm}v${2 * arm}` });
    this.pad.replaceChildren(...shapes, ...(this.corners ? [shape(this.corners, "draft"), cross] : []));
    this.list.replaceChildren(...Object.entries(this.regions).map(([name, region]) => el("li", {}, el("b", {}, name),
      el("span", {}, region.exclude ? "excluded" : ""), button("Remove", () => this.remove(name), { "aria-label": `Remove ${name}` }))));
    this.name.placeholder = this.free();
    this.message.textContent = text;
  }

  /** A name that no region has. */
  free() {
    for (let count = 1; ; count++) if (!(`region-${count}` in this.regions)) return `region-${count}`;
  }

  remove(name) {
    const { [name]: _, ...rest } = this.regions;
    return this.put(rest);
  }
}

function within(value) {
  return Math.round(1e4 * Math.min(Math.max(value, 0), 1)) / 1e4;
}
