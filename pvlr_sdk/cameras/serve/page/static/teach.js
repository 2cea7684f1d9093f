// Teaches a label from frames of the live picture: "is" and "is not", then the label appears among the others.
import { button, el, request } from "./dom.js";

const HINT = "Name it and use its word, or pick frames of the picture that show it, and others that do not.";

export class TeachPanel {
  /** `camera`: the name of the camera whose frames are picked; `shown()`: the time of the frame in the picture;
   *  `pin(label)` keeps the label in sight. */
  constructor(camera, shown, pin) {
    this.camera = camera;
    this.shown = shown;
    this.requests = Promise.resolve();
    const id = `teach-${camera}`;
    this.field = el("input", { type: "text", id, maxlength: 100, autocomplete: "off", placeholder: "my mug" });
    this.is = button("", () => this.pick(true));
    this.isNot = button("", () => this.pick(false));
    this.word = button("Use the word", () => this.useWord());
    this.teach = button("Teach", () => this.learn());
    this.undo = button("Undo", () => this.ask("DELETE", "teach/examples", {}, "&last=true"));
    this.clear = button("Clear", () => this.ask("DELETE", "teach/examples"));
    this.forget = button("Forget", () => this.ask("DELETE", "teach"));
    this.message = el("p", { class: "hint", role: "status" }, HINT);
    this.field.addEventListener("input", () => {
      this.show({ positives: 0, negatives: 0, taught: false });
      pin(this.label);
    });
    for (const kind of ["change", "focus"]) this.field.addEventListener(kind, () => this.load());
    this.element = el(
      "div",
      { class: "teach", role: "group", "aria-label": `Add a label from ${camera}`, hidden: "" },
      el("div", { class: "filters" }, el("label", { for: id }, "Add a label"), this.field, this.word),
      el("div", { class: "choices" }, this.is, this.isNot, this.undo, this.teach, this.clear, this.forget),
      this.message,
    );
    this.show({ positives: 0, negatives: 0, taught: false });
  }

  get label() {
    return this.field.value.trim();
  }

  /** Shows the examples of a label, unless another one is being named. */
  open(label) {
    if (this.label && this.label !== label) return;
    this.field.value = label;
    this.load();
  }

  show({ positives, negatives, taught, teachable }) {
    this.is.textContent = `Positive (${positives})`;
    this.isNot.textContent = `Negative (${negatives})`;
    for (const control of [this.word, this.is, this.isNot]) control.disabled = !this.label;
    this.teach.disabled = !teachable;
    if (positives && negatives && !teachable) this.message.textContent = `${this.label} is a label of the plan: choose another name.`;
    for (const control of [this.undo, this.clear]) control.disabled = !(positives + negatives);
    this.forget.hidden = !taught;
  }

  async load() {
    if (this.label) await this.ask("GET", "teach/examples");
  }

  async pick(is) {
    this.message.textContent = "";
    await this.ask("POST", "teach/examples", { camera: this.camera, is, time: this.shown() });
  }

  async learn() {
    const found = await this.ask("POST", "teach");
    if (found) await this.added(found, measured(found));
  }

  async useWord() {
    const found = await this.ask("POST", "words");
    if (found) await this.added(found, `${found.grade}, ${described(found.concepts)}. ${promised(found.expected)}`);
  }

  async added({ label, bank_file }, what) {
    const kept = bank_file ? `Kept in ${bank_file}.` : "It holds until the server stops.";
    await this.load();
    this.message.textContent = `${label}: ${what} ${kept}`;
  }

  /** Sends a request about the label and shows its counts; returns the answer, or null after an error.
   *  Requests follow each other: an answer that came late would show old counts. */
  ask(method, path, body = {}, more = "") {
    const { label } = this;
    this.requests = this.requests.then(() => this.send(label, method, path, body, more));
    return this.requests;
  }

  async send(label, method, path, body, more) {
    const posted = method === "POST";
    const query = posted ? "" : `?label=${encodeURIComponent(label)}${more}`;
    try {
      const found = await request(method, `/v1/${path}${query}`, posted ? { label, ...body } : undefined);
      if (label === this.label && found.examples) this.show(found);
      return found;
    } catch (error) {
      this.message.textContent = error.message;
      return null;
    }
  }
}

/** The classes of a word, such as "espresso 60 %"; a word from captions has none. */
function described(concepts) {
  if (!Object.keys(concepts).length) return "learned from captions";
  const shares = Object.entries(concepts).map(([name, share]) => `${name} ${Math.round(100 * share)} %`);
  return `like ${shares.slice(0, 3).join(", ")}`;
}

/** What to expect of a word at its higher threshold, on photos that are like those it was measured on. */
function promised(expected) {
  if (!expected) return "Its accuracy is not measured: teach it.";
  const [right, found] = ["right", "found"].map((name) => {
    const [mean, low, high] = expected.precise[name];
    return `${mean} % (${low} to ${high})`;
  });
  return `Of its tags, ${right} are right, and of photos with it, ${found} are found, on cameras fewer: teach it for events.`;
}

/** Precision and recall with their intervals; with one frame of a kind, there is nothing to measure with. */
function measured(found) {
  const frames = `${found.positives} and ${found.negatives} frames`;
  if (found.recall === null) return `learned from ${frames}, too few to measure. ${found.advice}`;
  const [precision, recall] = ["precision", "recall"].map((name) => {
    const [low, high] = found[`${name}_interval`].map(Math.round);
    return found[name] === null ? "none found" : `${name} ${Math.round(found[name])} % (${low} to ${high})`;
  });
  const where = `where ${Math.round(found.prevalence)} of 100 frames show it`;
  const harmful = found.harmful ? ` The frame that hurts most: ${found.harmful}. Check what it shows.` : "";
  return `${precision}, ${recall} by cross-validation of ${frames}, ${where}. ${found.advice}${harmful}`;
}
