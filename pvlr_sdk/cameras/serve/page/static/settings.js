// The thresholds of all labels, and whether their events are reported. A change takes effect at once.
import { byId, button, el, labelName, request } from "./dom.js";

export class Settings {
  /** `preview(label, threshold, tell)` is called while a slider moves, and tells what it would change. */
  constructor(preview) {
    this.preview = preview;
    this.rows = new Map();
    this.search = el("input", { type: "search", id: "search", autocomplete: "off" });
    this.search.addEventListener("input", () => this.filter());
    this.all = [true, false].map((on) => button(on ? "Report all shown" : "Report none shown", () => this.report(on)));
    this.message = el("p", { class: "hint", role: "status" });
    this.list = el("ul", { class: "settings", "aria-label": "Labels" });
    byId("settings").append(
      el("div", { class: "filters" }, el("label", { for: "search" }, "Find a label"), this.search, ...this.all),
      this.message,
      this.list,
    );
  }

  /** `cameras`: whether there are any, whose events can be reported; `taught`: the labels from words and photos. They
   *  come first, then the reported ones; a tick moves no row. */
  async load(cameras, taught) {
    this.cameras = cameras;
    for (const control of this.all) control.hidden = !cameras;
    await this.ask("GET", "");
    const rank = (row) => 2 * taught.includes(row.label) + row.reported;
    const focused = document.activeElement;
    this.list.append(...[...this.rows.values()].sort((a, b) => rank(b) - rank(a)).map((row) => row.element));
    focused.focus();
  }

  put(change) {
    return this.ask("PUT", "Changed. ", change);
  }

  /** Whether a camera does not report a label. */
  isDenied(camera, label) {
    return this.answer.denied[camera]?.includes(label) ?? false;
  }

  /** Does not report a label at a camera, or reports it again. */
  deny(camera, label, on) {
    const others = (this.answer.denied[camera] ?? []).filter((name) => name !== label);
    const change = { labels: on ? [...others, label] : others };
    return this.ask("PUT", "Changed. ", change, `/v1/cameras/${encodeURIComponent(camera)}/deny`);
  }

  /** Shows the settings that the server answers with; after an error, the settings that it answered with before. Returns
   *  the message. */
  async ask(method, before, change, path = "/v1/settings") {
    try {
      this.answer = await request(method, path, change);
      const { state_file, own_labels, denied } = this.answer;
      const kept = state_file ? "Changes are kept across restarts." : "Changes hold until the server stops.";
      const own = own_labels.map((name) => ` ${name} reports the labels of its own settings.`);
      const without = Object.entries(denied).filter(([, labels]) => labels.length);
      const less = without.map(([name, labels]) => ` ${name} does not report ${labels.join(", ")}.`);
      this.message.textContent = [`${before}${kept}`, ...own, ...less].join("");
    } catch (error) {
      this.message.textContent = error.message;
    }
    // A server that starts again may have a plan with other labels, and refuses a change that names an old one.
    const labels = new Set(this.answer?.labels.map((label) => label.label));
    for (const [label, row] of this.rows) {
      if (labels.has(label)) continue;
      row.element.remove();
      this.rows.delete(label);
    }
    for (const label of this.answer?.labels ?? []) {
      if (!this.rows.has(label.label)) this.add(label.label);
      this.rows.get(label.label).set(label);
    }
    return this.message.textContent;
  }

  add(label) {
    const row = new Row(label, this.cameras, (change) => this.put(change), (on) => this.report(on, label), this.preview);
    this.rows.set(label, row);
    this.list.append(row.element);
  }

  /** Reports a label, or all labels shown, or not. */
  report(on, label) {
    const changed = (row) => (label ? row.label === label : !row.element.hidden);
    const rows = [...this.rows.values()].filter((row) => (changed(row) ? on : row.reported));
    this.put({ labels: rows.map((row) => row.label) });
  }

  filter() {
    const text = this.search.value.trim().toLowerCase();
    for (const row of this.rows.values()) row.element.hidden = ![row.label, labelName(row.label)].some((name) => name.toLowerCase().includes(text));
  }
}

class Row {
  constructor(label, cameras, put, report, preview) {
    this.label = label;
    this.check = el("input", { type: "checkbox", "aria-label": `Report ${label}` });
    this.check.hidden = !cameras;
    this.check.addEventListener("change", () => report(this.check.checked));
    this.range = el("input", { type: "range", min: 0, max: 1, step: 0.01, "aria-label": `Threshold of ${label}` });
    this.range.addEventListener("input", () => {
      this.write(Number(this.range.value));
      preview(label, Number(this.range.value), (text) => (this.source.textContent = text));
    });
    this.range.addEventListener("change", () => put({ thresholds: { [label]: Number(this.range.value) } }));
    this.value = el("output", {});
    this.source = el("span", { class: "source" });
    this.reset = button("", () => put({ thresholds: { [label]: this.plan } }), { class: "reset" });
    this.element = el("li", {}, this.check, el("span", { class: "name" }, labelName(label)), this.range, this.value, this.reset, this.source);
  }

  set({ threshold, source, plan_threshold, reported }) {
    this.plan = plan_threshold;
    this.threshold = threshold;
    this.reported = this.check.checked = reported;
    this.range.value = threshold;
    this.write(threshold);
    this.value.title = `${threshold.toFixed(2)}, ${source}`;
    this.source.textContent = source.startsWith("proven") ? source : "";
    this.reset.textContent = `Plan: ${plan_threshold.toFixed(2)}`;
    this.reset.setAttribute("aria-label", `Set ${this.label} to the threshold of the plan, ${plan_threshold.toFixed(2)}`);
    this.reset.disabled = Math.abs(threshold - plan_threshold) < 5e-5;
  }

  write(threshold) {
    this.value.textContent = threshold.toFixed(2);
  }
}
