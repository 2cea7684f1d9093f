// The labels of a frame as bars, each a button that shows its attention map when hovered or focused.
import { el, labelName } from "./dom.js";

export class Tags {
  /** `rows`: number of labels shown; `choose(label or null)` is called when the chosen label changes. */
  constructor(rows, choose) {
    this.count = rows;
    this.choose = choose;
    this.rows = [];
    this.chosen = null;
    this.pinned = null;
    this.element = el("ul", { class: "tags", "aria-label": "Labels" });
    this.element.addEventListener("keydown", (event) => this.move(event));
  }

  /** `tags`: `[label, score, threshold]`; the largest margins are shown, in this order, and the pinned label. It stays while a label is chosen. */
  show(tags) {
    if (this.chosen === null || !this.rows.length) {
      const margin = ([, score, threshold]) => score - threshold;
      const labels = [...tags].sort((tag, other) => margin(other) - margin(tag)).map(([label]) => label);
      this.order(labels.filter((label, place) => place < this.count || label === this.pinned));
    }
    const seen = new Map(tags.map((tag) => [tag[0], tag]));
    for (const row of this.rows) {
      if (seen.has(row.label)) row.set(...seen.get(row.label).slice(1));
    }
  }

  order(labels) {
    if (labels.join("\n") === this.rows.map((row) => row.label).join("\n")) return;
    const known = new Map(this.rows.map((row) => [row.label, row]));
    this.rows = labels.map((label) => known.get(label) ?? this.make(label));
    this.element.replaceChildren(...this.rows.map((row) => row.element));
  }

  make(label) {
    const row = new Row(label);
    const choose = () => this.set(label);
    const leave = () => this.set(this.focused());
    row.button.addEventListener("pointerenter", choose);
    row.button.addEventListener("pointerleave", leave);
    row.button.addEventListener("focus", choose);
    row.button.addEventListener("blur", leave);
    return row;
  }

  /** The label with the keyboard focus. */
  focused() {
    return this.rows.find((row) => row.button === document.activeElement)?.label ?? null;
  }

  set(label) {
    if (label === this.chosen) return;
    this.chosen = label;
    for (const row of this.rows) row.button.classList.toggle("chosen", row.label === label);
    this.choose(label);
  }

  move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const buttons = this.rows.map((row) => row.button);
    if (event.key === "Escape") {
      document.activeElement.blur();
      this.set(null);
    } else if (step) {
      event.preventDefault();
      buttons[(buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length].focus();
    }
  }
}

class Row {
  constructor(label) {
    this.label = label;
    this.fill = el("span", { class: "fill" });
    this.mark = el("span", { class: "mark" });
    this.score = el("span", { class: "score" });
    this.margin = el("span", { class: "margin" });
    this.button = el(
      "button",
      { type: "button", class: "tag", "data-label": label },
      el("span", { class: "name" }, labelName(label)),
      el("span", { class: "track" }, this.fill, this.mark),
      this.score,
      this.margin,
    );
    this.element = el("li", {}, this.button);
  }

  set(score, threshold) {
    const margin = score - threshold;
    this.fill.style.width = `${100 * score}%`;
    this.mark.style.left = `${100 * threshold}%`;
    this.score.textContent = score.toFixed(2);
    this.margin.textContent = `${margin < 0 ? "−" : "+"}${Math.abs(margin).toFixed(2)}`;
    this.button.classList.toggle("on", margin >= 0);
    this.button.title = `threshold ${threshold.toFixed(2)}`;
  }
}
