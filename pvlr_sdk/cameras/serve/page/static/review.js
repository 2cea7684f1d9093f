// A review by keyboard: events and frames drawn at random, each with a question. The next one is shown at once, while the
// answer is stored, so that no key is lost.
import { el, request } from "./dom.js";
import { named, noun, picture, placed } from "./moment.js";

const EVENTS = "Y yes, N no, S skip, U undo, A with all alike. Drawn at random; what is skipped counts against the statement.";
const FRAMES = "Does the frame show it? Y yes, N no, S skip, U undo. Answers are examples to teach and train with; they prove nothing of events.";
const FEW = 5;
const PAUSE = 200;

export class Review {
  /** `path`: of the questions; `frames`: whether they are frames that teach, instead of events and frames that prove. */
  constructor(dialog, path, frames) {
    this.dialog = dialog;
    this.path = path;
    this.hint = frames ? FRAMES : EVENTS;
    this.queue = [];
    this.done = [];
    this.stored = Promise.resolve();
    this.together = el("input", { type: "checkbox" });
  }

  /** Asks the first question. Throws an Error with a message for the person. */
  async begin() {
    const notes = await this.fill();
    this.dialog.note.textContent = [...notes, this.hint].join(" ");
    this.ask();
  }

  /** Adds further questions; returns what the server says of them. */
  async fill() {
    await this.stored;
    const { moments, notes } = await request("GET", this.path);
    const known = new Set([...this.queue, ...this.done, ...this.done.flatMap((answered) => answered.alike)].map(key));
    this.queue.push(...moments.filter((moment) => !known.has(key(moment))));
    return notes;
  }

  ask() {
    const moment = this.queue[0] ?? null;
    this.alike = [];
    this.together.checked = false;
    this.dialog.show(moment, moment ? question(moment) : "All are answered", (answer) => this.answer(answer));
    this.dialog.answers.at(-1).disabled = !this.done.length;
    if (!moment) return;
    if (this.queue[1]) new Image().src = picture(this.queue[1].id);
    if (moment.event) setTimeout(() => this.describe(moment).catch(() => null), PAUSE);
  }

  /** Adds what takes a while: whoever answers at once does not wait for it. */
  async describe(moment) {
    if (this.dialog.moment !== moment || !this.dialog.element.open) return;
    await this.findAlike(moment);
    await this.dialog.explain(moment);
  }

  /** Offers to answer the events alike that look like the shown one. */
  async findAlike(moment) {
    const { moments } = await request("GET", `/v1/memory/events/${encodeURIComponent(moment.event)}/alike`);
    if (this.dialog.moment !== moment || !moments.length) return;
    this.alike = moments;
    const pictures = moments.map((moment) => el("li", {}, el("img", { src: picture(moment.id), alt: named(moment), loading: "lazy" })));
    const text = `Answer all alike: these ${moments.length} too (A)`;
    this.dialog.body.append(el("label", {}, this.together, " ", text), el("ul", { class: "gallery" }, ...pictures));
  }

  /** Stores an answer and asks the next question, or goes back to the last one. */
  async answer(answer) {
    if (answer === "alike") return this.together.click();
    const moment = answer === "undo" ? this.done.pop() : this.queue.shift();
    if (!moment) return;
    const alike = answer !== "undo" && this.together.checked ? this.alike : [];
    if (answer === "undo") {
      // Those that were answered with it are asked again, in their order.
      this.queue = moment.alike.length ? [moment] : [moment, ...this.queue];
    } else {
      this.done.push(moment);
      moment.alike = alike;
      const answered = new Set(alike.map(key));
      this.queue = this.queue.filter((moment) => !answered.has(key(moment)));
    }
    const count = this.done.reduce((sum, answered) => sum + 1 + answered.alike.length, 0);
    const told = this.stored.then(() => this.store(moment, answer === "undo" ? null : answer, alike));
    this.stored = told;
    try {
      if (answer === "undo") await told;
      if (!this.queue.length) await this.fill();
      else if (this.queue.length < FEW) this.fill().catch(() => null);
    } catch (error) {
      this.dialog.note.textContent = error.message;
    }
    this.ask();
    const text = await told;
    if (text) this.dialog.note.textContent = `${count} answered. ${text}.`;
  }

  /** Stores the answer about an event and those alike, or about a frame; returns what the answers prove. */
  async store(moment, answer, alike) {
    try {
      const path = moment.event ? `events/${encodeURIComponent(moment.event)}` : `frames/${moment.id}`;
      const about = moment.event ? { alike: alike.map((event) => event.event) } : { label: moment.label };
      return (await request("PUT", `/v1/memory/${path}/answer`, { answer, ...about })).statement;
    } catch (error) {
      this.dialog.note.textContent = error.message;
      return null;
    }
  }
}

function key({ event, id }) {
  return event ?? id;
}

function question(moment) {
  const asked = moment.event ? `Is this ${noun(moment.label)}?` : `Does it show ${noun(moment.label)}?`;
  return `${asked} ${placed(moment)}`;
}
