// What can be done about the label of an event: correct it, exclude it at the camera, or choose another threshold.
import { Correction } from "./correction.js";
import { el } from "./dom.js";

export class Actions {
  /** `settings` knows and changes them; `preview(label, threshold, tell)` says what a threshold would change. */
  constructor(settings, preview) {
    this.settings = settings;
    this.check = el("input", { type: "checkbox" });
    this.denied = el("span");
    this.range = el("input", { type: "range", min: 0, max: 1, step: 0.01, id: "moment-threshold" });
    this.name = el("label", { for: "moment-threshold" });
    this.value = el("span", { class: "value" });
    this.previewed = el("p", { class: "hint", "aria-live": "polite" });
    this.outcome = el("p", { class: "hint", "aria-live": "polite" });
    this.correction = new Correction();
    this.correctable = false;
    this.element = el(
      "div",
      { class: "actions", role: "group", "aria-label": "What to do about it" },
      this.correction.element,
      el("label", {}, this.check, " ", this.denied),
      el("div", { class: "filters" }, this.name, this.range, this.value),
      this.previewed,
      this.outcome,
    );
    this.check.addEventListener("change", () => this.change(() => settings.deny(this.camera, this.label, this.check.checked)));
    this.range.addEventListener("input", () => {
      this.value.textContent = Number(this.range.value).toFixed(2);
      preview(this.label, Number(this.range.value), (text) => (this.previewed.textContent = text));
    });
    this.range.addEventListener("change", () =>
      this.change(() => settings.put({ thresholds: { [this.label]: Number(this.range.value) } })),
    );
  }

  /** `correctable`: whether the plan is open and there is a memory. */
  use(correctable) {
    this.correctable = correctable;
  }

  /** Shows what holds for the label and the camera of an event; nothing for an event without a label of the plan. */
  show(event) {
    const row = event && this.settings.rows.get(event.label);
    this.element.hidden = !row;
    if (!row) return;
    this.correction.show(this.correctable ? event : null);
    this.label = event.label;
    this.camera = event.camera;
    this.previewed.textContent = "";
    this.outcome.textContent = "";
    this.denied.textContent = `Do not report ${this.label} at ${this.camera}`;
    this.name.textContent = `Threshold of ${this.label} at all cameras`;
    this.write();
  }

  write() {
    const row = this.settings.rows.get(this.label);
    this.check.checked = this.settings.isDenied(this.camera, this.label);
    this.range.value = row.threshold;
    this.value.textContent = row.threshold.toFixed(2);
  }

  async change(send) {
    const label = this.label;
    const message = await send();
    if (label !== this.label) return;
    this.outcome.textContent = message;
    this.write();
  }
}
