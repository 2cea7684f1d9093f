// The memory of events: a search with pictures, a review, and what another threshold would have reported.
import { byId, button, el, request } from "./dom.js";
import { MomentDialog, named, picture } from "./moment.js";
import { Review } from "./review.js";

const HINT = "A label, or any word if the plan is open. Without words: the newest. Review asks for the camera and the label that are chosen above.";
const NOTHING = "Nothing found.";
const CHOSEN = "An event that you chose counts once Review has come to it, since Review draws at random.";
const CHANGES = ["new", "gone", "longer", "shorter"];

export class Memory {
  /** `actions`: what can be done about an event. `choice()`: the camera and the label to review, in a query. */
  constructor(actions, choice) {
    this.choice = choice;
    this.field = el("input", { type: "search", id: "memory-words", autocomplete: "off", maxlength: 200, placeholder: "golden retriever" });
    this.message = el("p", { class: "hint", role: "status" }, HINT);
    this.list = el("ul", { class: "gallery" });
    const form = el(
      "form",
      { class: "filters", role: "search" },
      el("label", { for: "memory-words" }, "Search events"),
      this.field,
      el("button", {}, "Search"),
      button("Review", () => this.review("review", false)),
      button("Review frames", () => this.review("frames", true)),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.search();
    });
    this.dialog = new MomentDialog(actions);
    byId("memory").append(form, this.message, this.list);
  }

  async search() {
    this.message.textContent = "searching …";
    try {
      const found = await request("GET", `/v1/memory/search?words=${encodeURIComponent(this.field.value.trim())}`);
      const grade = found.grade ? ` Grade of this word: ${found.grade}.` : "";
      const order = this.field.value.trim() ? "best" : "newest";
      this.message.textContent = found.moments.length ? `${found.moments.length} shown, the ${order} first.${grade}` : NOTHING;
      this.list.replaceChildren(...found.moments.map((moment) => el("li", {}, this.thumbnail(moment))));
    } catch (error) {
      this.message.textContent = error.message;
      this.list.replaceChildren();
    }
  }

  /** Tells how the events of the last hour change with another threshold; of one that moves, for the newest value. */
  async replay(label, threshold, tell) {
    if (byId("memory").hidden) return;
    this.wanted = { label, threshold, tell };
    if (this.replaying) return;
    this.replaying = true;
    while (this.wanted) {
      const { label: name, threshold: value, tell: answer } = this.wanted;
      this.wanted = null;
      try {
        const found = await request("GET", `/v1/memory/replay?label=${encodeURIComponent(name)}&threshold=${value}`);
        const notes = found.notes.length ? ` Not exact: ${found.notes.join("; ")}.` : "";
        const text = `${name} at ${value.toFixed(2)}: ${found.after} instead of ${found.before} events in the last hour.${notes}`;
        answer(text);
        this.message.textContent = text;
        this.list.replaceChildren(...found.changes.map((change) => el("li", {}, this.thumbnail(change))));
      } catch (error) {
        answer(error.message);
      }
    }
    this.replaying = false;
  }

  thumbnail(moment) {
    const made = button("", () => this.open(moment));
    const change = CHANGES.includes(moment.kind) ? `${moment.kind}: ` : "";
    const score = change + (moment.score === null ? "" : `${moment.score.toFixed(2)} `);
    made.append(el("img", { src: picture(moment.id), alt: "", loading: "lazy" }), el("span", {}, score + named(moment)));
    return made;
  }

  /** Shows an event or a frame. An event of the list has no `id` of a picture until the memory gives it. */
  async open(moment) {
    const remembered = moment.event && !byId("memory").hidden;
    this.dialog.show(moment, named(moment), remembered ? (answer) => this.answer(moment, answer) : null);
    this.dialog.note.textContent = "";
    if (!remembered) return;
    try {
      await this.dialog.explain(moment);
    } catch (error) {
      if (this.dialog.moment === moment) this.dialog.note.textContent = error.message;
    }
  }

  /** Stores an answer about the shown event: whether it is right. */
  async answer(moment, answer) {
    if (answer === "alike") return;
    try {
      const body = { answer: answer === "undo" ? null : answer, drawn: false };
      const { statement } = await request("PUT", `/v1/memory/events/${encodeURIComponent(moment.event)}/answer`, body);
      this.dialog.mark(answer);
      this.dialog.note.textContent = `${statement}. ${CHOSEN}`;
    } catch (error) {
      this.dialog.note.textContent = error.message;
    }
  }

  /** Asks for events and frames drawn at random, or for the frames that teach most. */
  async review(path, frames) {
    const review = new Review(this.dialog, `/v1/memory/${path}${frames ? "" : this.choice()}`, frames);
    await review.begin().catch((error) => (this.message.textContent = error.message));
  }
}
