// The memory of events: a search with pictures, why an event was reported, and a review by keyboard.
import { byId, button, clock, el, request, svg } from "./dom.js";

const NOTHING = "Nothing found.";
const REVIEW = "Is the event right, does the frame show it? Y yes, N no, S skip, U undo, A with all alike. Drawn at random; what is skipped counts against the statement.";
const FRAMES = "Does the frame show it? Y yes, N no, S skip, U undo. Answers are examples to teach and train with; they prove nothing of events.";
const KEYS = { y: "yes", n: "no", s: "unclear", u: "undo", a: "alike" };
const CHANGES = ["new", "gone", "longer", "shorter"];
const NEAR = 10;
const WIDTH = 600;
const HEIGHT = 120;

export class Memory {
  constructor() {
    this.field = el("input", { type: "search", id: "memory-words", autocomplete: "off", maxlength: 200, placeholder: "golden retriever" });
    this.message = el("p", { class: "hint", role: "status" }, "A label, or any word if the plan is open. Without words: the newest.");
    this.list = el("ul", { class: "gallery" });
    const form = el(
      "form",
      { class: "filters", role: "search" },
      el("label", { for: "memory-words" }, "Search events"),
      this.field,
      el("button", {}, "Search"),
      button("Review", () => this.review(false)),
      button("Review frames", () => this.review(true)),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.search();
    });
    this.title = el("h2", { id: "moment-title" });
    this.image = el("img", { alt: "" });
    this.body = el("div");
    this.note = el("p", { class: "hint", role: "status" });
    this.together = el("input", { type: "checkbox" });
    this.answers = Object.entries({ Yes: "yes", No: "no", Skip: "unclear", Undo: "undo" }).map(([text, answer]) =>
      button(text, () => this.answer(answer)),
    );
    this.choices = el("div", { class: "choices", role: "group", "aria-label": "Answer" }, ...this.answers);
    const bar = el("div", { class: "bar" }, this.title, button("Close", () => this.dialog.close()));
    this.dialog = el("dialog", { class: "moment", "aria-labelledby": "moment-title" }, bar, this.image, this.choices);
    this.dialog.append(this.note, this.body);
    // Not of the dialog: a button that is disabled loses the focus to the document.
    document.addEventListener("keydown", (event) => {
      const answer = KEYS[event.key.toLowerCase()];
      if (answer && this.dialog.open && !this.choices.hidden && !event.ctrlKey && !event.metaKey && !event.altKey) this.answer(answer);
    });
    byId("memory").append(form, this.message, this.list);
    document.body.append(this.dialog);
  }

  async search() {
    this.message.textContent = "searching …";
    try {
      const found = await request("GET", `/v1/memory/search?words=${encodeURIComponent(this.field.value.trim())}`);
      const grade = found.grade ? ` Grade of this word: ${found.grade}.` : "";
      this.message.textContent = found.moments.length ? `${found.moments.length} found, the ${this.field.value.trim() ? "best" : "newest"} first.${grade}` : NOTHING;
      this.list.replaceChildren(...found.moments.map((one) => el("li", {}, this.thumbnail(one))));
    } catch (error) {
      this.message.textContent = error.message;
      this.list.replaceChildren();
    }
  }

  /** Shows how the events of the last hour change with another threshold; of one that moves, the newest value. */
  async replay(label, threshold) {
    if (byId("memory").hidden) return;
    this.wanted = [label, threshold];
    if (this.replaying) return;
    this.replaying = true;
    while (this.wanted) {
      const [name, value] = this.wanted;
      this.wanted = null;
      try {
        const found = await request("GET", `/v1/memory/replay?label=${encodeURIComponent(name)}&threshold=${value}`);
        const notes = found.notes.length ? ` Not exact: ${found.notes.join("; ")}.` : "";
        this.message.textContent = `${name} at ${value.toFixed(2)}: ${found.after} instead of ${found.before} events in the last hour.${notes}`;
        this.list.replaceChildren(...found.changes.map((one) => el("li", {}, this.thumbnail(one))));
      } catch (error) {
        this.message.textContent = error.message;
      }
    }
    this.replaying = false;
  }

  thumbnail(moment) {
    const made = button("", () => this.open(moment));
    const change = CHANGES.includes(moment.kind) ? `${moment.kind}: ` : "";
    const score = change + (moment.score === null ? "" : `${moment.score.toFixed(2)} `);
    made.append(el("img", { src: source(moment.id), alt: "", loading: "lazy" }), el("span", {}, score + named(moment)));
    return made;
  }

  /** Shows a picture, and why its event was reported. */
  async open(moment) {
    this.show(moment, false);
    if (!moment.event) return;
    try {
      const found = await request("GET", `/v1/memory/events/${encodeURIComponent(moment.event)}`);
      if (this.shown !== moment) return;
      const line = (text) => el("li", {}, text);
      const others = found.others.map(([label, score, least]) => `${label} ${score.toFixed(2)} (${least.toFixed(2)})`);
      const near = found.near.slice(-NEAR).reverse().map(([label, start, , peak, least, reason]) =>
        line(`${clock(start)} ${label} ${peak.toFixed(2)} (${least.toFixed(2)}): ${reason}`),
      );
      const where = el("input", { type: "checkbox" });
      where.addEventListener("change", () => (this.image.src = source(moment.id, where.checked)));
      if (found.attention) this.body.append(el("label", {}, where, " Attention map"));
      const drawn = curve(found);
      const reasons = [`Began: ${found.began}`, `Ended: ${found.ended}`, `Other labels (thresholds): ${others.join(", ")}`];
      this.body.append(
        drawn,
        el("p", { class: "hint", "aria-hidden": "true" }, drawn.getAttribute("aria-label")),
        el("ul", {}, ...reasons.map(line)),
        el("h3", {}, "Newest near misses in the hour before"),
        el("ul", {}, ...(near.length ? near : [line("none")])),
      );
    } catch (error) {
      this.note.textContent = error.message;
    }
  }

  show(moment, reviewed) {
    this.shown = moment;
    const question = reviewed && moment && !moment.event ? "Does it show " : "";
    this.title.textContent = moment ? question + named(moment) : "All are answered";
    this.image.hidden = !moment;
    if (moment) this.image.src = source(moment.id);
    this.choices.hidden = !reviewed;
    for (const one of this.answers.slice(0, 3)) one.disabled = !moment;
    this.body.replaceChildren();
    this.alike = [];
    this.together.checked = false;
    if (!reviewed) this.note.textContent = "";
    if (!this.dialog.open) this.dialog.showModal();
  }

  /** Asks for events and frames drawn at random, or for the frames that teach most. */
  async review(frames) {
    this.frames = frames;
    this.done = [];
    this.queue = [];
    await this.next().catch((error) => (this.message.textContent = error.message));
  }

  async next() {
    if (!this.queue.length) {
      const { moments, notes } = await request("GET", `/v1/memory/${this.frames ? "frames" : "review"}`);
      this.queue = moments;
      this.note.textContent = [...notes, this.frames ? FRAMES : REVIEW].join(" ");
    }
    this.show(this.queue[0] ?? null, true);
    if (this.shown?.event) this.findAlike(this.shown);
    if (this.queue[1]) new Image().src = source(this.queue[1].id);
    this.answers[3].disabled = !this.done.length;
  }

  /** Offers to answer the events alike that look like the shown one. */
  async findAlike(moment) {
    const { moments } = await request("GET", `/v1/memory/events/${encodeURIComponent(moment.event)}/alike`).catch(() => ({ moments: [] }));
    if (this.shown !== moment || !moments.length) return;
    this.alike = moments.map((one) => one.event);
    const pictures = moments.map((one) => el("li", {}, el("img", { src: source(one.id), alt: named(one), loading: "lazy" })));
    const text = `Answer all alike: these ${moments.length} too (A)`;
    this.body.append(el("label", {}, this.together, " ", text), el("ul", { class: "gallery" }, ...pictures));
  }

  /** Stores an answer and shows the next event, or goes back to the last one. */
  async answer(answer) {
    if (answer === "alike") return this.together.click();
    const undo = answer === "undo";
    const moment = undo ? this.done.at(-1) : this.shown;
    if (!moment || this.busy) return;
    this.busy = true;
    try {
      const path = moment.event ? `events/${encodeURIComponent(moment.event)}` : `frames/${moment.id}`;
      const alike = !undo && this.together.checked ? this.alike : [];
      const about = moment.event ? { alike } : { label: moment.label };
      const { statement } = await request("PUT", `/v1/memory/${path}/answer`, { answer: undo ? null : answer, ...about });
      if (undo) this.queue = [this.done.pop()]; // and then those that were answered with it, in their order
      else this.done.push(this.queue.shift());
      moment.alike = alike.length;
      this.queue = this.queue.filter((one) => !alike.includes(one.event));
      await this.next();
      const count = this.done.reduce((sum, one) => sum + 1 + one.alike, 0);
      this.note.textContent = `${count} answered. ${statement}.`;
    } catch (error) {
      this.note.textContent = error.message;
    } finally {
      this.busy = false;
    }
  }
}

function source(id, attention = false) {
  return `/v1/memory/pictures/${id}${attention ? "?attention=true" : ""}`;
}

function named({ label, kind, camera, region, time }) {
  const when = `${new Date(time).toLocaleDateString()}, ${clock(Date.parse(time) / 1000)}`;
  return `${label ?? `${kind} frame`} at ${region ? `${camera}, ${region}` : camera}, ${when}`;
}

/** The score, its moving average and both thresholds around an event, whose time is shaded. */
function curve({ curve: points, upper, lower, event }) {
  const [begin, end] = [points[0]?.[0] ?? 0, points.at(-1)?.[0] ?? 1];
  const across = (time) => ((WIDTH * (time - begin)) / Math.max(end - begin, 1e-3)).toFixed(1);
  const down = (value) => (HEIGHT - 1 - value * (HEIGHT - 2)).toFixed(1);
  const path = (at, css) =>
    svg("path", { class: css, d: points.length ? `M${points.map((one) => `${across(one[0])} ${down(one[at])}`).join("L")}` : null });
  const level = (value, css) => svg("line", { class: css, x1: 0, x2: WIDTH, y1: down(value), y2: down(value) });
  const [from, until] = [event.start, event.end ?? event.time].map((time) => across(Date.parse(time) / 1000));
  const span = svg("rect", { class: "lane", x: from, width: Math.max(until - from, 1), y: 0, height: HEIGHT });
  const label = `Score from ${clock(begin)} to ${clock(end)} (thin) and its moving average; thresholds ${upper.toFixed(2)} and ${lower.toFixed(2)} (dashed)`;
  const options = { class: "curve", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label };
  return svg("svg", options, span, path(1, "score"), level(upper, "upper"), level(lower, "lower"), path(2, "average"));
}
