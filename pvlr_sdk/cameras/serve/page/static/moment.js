// The dialog about an event or a frame: its picture, an answer, what can be done about it, and why it was reported.
import { button, clock, el, labelName, request, svg } from "./dom.js";

const KEYS = { y: "yes", n: "no", s: "unclear", u: "undo", a: "alike" };
const NEAR = 10;
const WIDTH = 600;
const HEIGHT = 120;

export class MomentDialog {
  /** `actions`: what can be done about the label of an event. */
  constructor(actions) {
    this.actions = actions;
    this.title = el("h2", { id: "moment-title" });
    this.image = el("img", { alt: "" });
    this.where = el("input", { type: "checkbox" });
    this.attention = el("label", {}, this.where, " Attention map");
    this.note = el("p", { class: "hint", role: "status" });
    this.body = el("div");
    this.answers = Object.entries({ Yes: "yes", No: "no", Skip: "unclear", Undo: "undo" }).map(([text, answer]) =>
      button(text, () => this.onAnswer(answer), { "data-answer": answer }),
    );
    this.choices = el("div", { class: "choices", role: "group", "aria-label": "Answer" }, ...this.answers);
    const bar = el("div", { class: "bar" }, this.title, button("Close", () => this.element.close()));
    const parts = [bar, this.image, this.attention, this.choices, this.note, actions.element, this.body];
    this.element = el("dialog", { class: "moment", "aria-labelledby": "moment-title" }, ...parts);
    this.image.addEventListener("error", () => (this.image.hidden = true)); // deleted: the folder has a limit
    this.where.addEventListener("change", () => (this.image.src = picture(this.moment.id, this.where.checked)));
    // Not of the dialog: a button that is disabled loses the focus to the document.
    document.addEventListener("keydown", (event) => {
      const answer = KEYS[event.key.toLowerCase()];
      const alone = !event.ctrlKey && !event.metaKey && !event.altKey;
      if (answer && alone && this.element.open && !this.choices.hidden) this.onAnswer(answer);
    });
    document.body.append(this.element);
  }

  /** Shows a moment (null: none is left). `onAnswer` gets the answers; null: it has none. */
  show(moment, title, onAnswer) {
    this.moment = moment;
    this.onAnswer = onAnswer;
    this.title.textContent = title;
    this.image.hidden = !moment?.id && !moment?.snapshot;
    if (!this.image.hidden) this.image.src = moment.id ? picture(moment.id) : snapshot(moment);
    this.attention.hidden = true;
    this.where.checked = false;
    this.choices.hidden = !onAnswer;
    for (const button of this.answers) {
      button.disabled = !moment;
      button.removeAttribute("aria-pressed");
    }
    this.actions.show(moment?.event ? moment : null);
    this.body.replaceChildren();
    if (!this.element.open) this.element.showModal();
  }

  /** Marks the answer that was given. */
  mark(answer) {
    for (const button of this.answers) button.setAttribute("aria-pressed", button.dataset.answer === answer);
  }

  /** Adds why an event was reported, if the memory has it. */
  async explain(moment) {
    const why = await request("GET", `/v1/memory/events/${encodeURIComponent(moment.event)}`);
    if (this.moment !== moment) return;
    if (!moment.id) {
      moment.id = why.picture;
      this.image.hidden = false;
      this.image.src = picture(moment.id);
    }
    this.attention.hidden = !why.attention;
    const line = (text) => el("li", {}, text);
    const others = why.others.map(([label, score, threshold]) => `${label} ${score.toFixed(2)} (${threshold.toFixed(2)})`);
    const near = why.near.slice(-NEAR).reverse().map(([label, start, , peak, threshold, reason]) =>
      line(`${clock(start)} ${label} ${peak.toFixed(2)} (${threshold.toFixed(2)}): ${reason}`),
    );
    const drawn = curve(why);
    const reasons = [`Began: ${why.began}`, `Ended: ${why.ended}`, `Other labels (thresholds): ${others.join(", ")}`];
    this.body.append(
      drawn,
      el("p", { class: "hint", "aria-hidden": "true" }, drawn.getAttribute("aria-label")),
      el("ul", {}, ...reasons.map(line)),
      el("h3", {}, "Newest near misses in the hour before"),
      el("ul", {}, ...(near.length ? near : [line("none")])),
    );
  }
}

export function picture(id, attention = false) {
  return `/v1/memory/pictures/${id}${attention ? "?attention=true" : ""}`;
}

function snapshot({ event }) {
  return `/v1/events/${encodeURIComponent(event)}/snapshot`;
}

/** The label, the place and the time of a moment. */
export function named(moment) {
  return `${moment.label ? labelName(moment.label) : `${moment.kind} frame`} at ${placed(moment)}`;
}

/** The place and the time of a moment. */
export function placed({ camera, region, time }) {
  const when = `${new Date(time).toLocaleDateString()}, ${clock(Date.parse(time) / 1000)}`;
  return `${region ? `${camera}, ${region}` : camera}, ${when}`;
}

/** A label in a question: "a car", "an apple", "skis". */
export function noun(label) {
  if (/[^su]s$/i.test(label)) return label;
  return `${/^[aeiou]/i.test(label) ? "an" : "a"} ${label}`;
}

/** The score, its moving average and both thresholds around an event, whose time is shaded. */
function curve({ curve: points, upper, lower, event }) {
  const [begin, end] = [points[0]?.[0] ?? 0, points.at(-1)?.[0] ?? 1];
  const across = (time) => ((WIDTH * (time - begin)) / Math.max(end - begin, 1e-3)).toFixed(1);
  const down = (value) => (HEIGHT - 1 - value * (HEIGHT - 2)).toFixed(1);
  const path = (at, css) =>
    svg("path", { class: css, d: points.length ? `M${points.map((point) => `${across(point[0])} ${down(point[at])}`).join("L")}` : null });
  const level = (value, css) => svg("line", { class: css, x1: 0, x2: WIDTH, y1: down(value), y2: down(value) });
  const [from, until] = [event.start, event.end ?? event.time].map((time) => across(Date.parse(time) / 1000));
  const span = svg("rect", { class: "lane", x: from, width: Math.max(until - from, 1), y: 0, height: HEIGHT });
  const label = `Score from ${clock(begin)} to ${clock(end)} (thin) and its moving average; thresholds ${upper.toFixed(2)} and ${lower.toFixed(2)} (dashed)`;
  const options = { class: "curve", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label };
  return svg("svg", options, span, path(1, "score"), level(upper, "upper"), level(lower, "lower"), path(2, "average"));
}
