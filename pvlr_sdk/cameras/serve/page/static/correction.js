// Not this again: what a correction of an event's label would have changed, then to hold it, or undo it.
import { button, el, request } from "./dom.js";

const NOTHING = "Looks through the last 24 hours first; nothing changes yet.";

export class Correction {
  constructor() {
    this.ask = button("Not this again", () => this.send("GET"));
    this.hold = button("Hold", () => this.send("PUT"));
    this.undo = button("Undo", () => this.send("DELETE"), { "aria-label": "Undo the correction" });
    this.outcome = el("p", { class: "hint", "aria-live": "polite" });
    this.element = el("div", { class: "filters" }, this.ask, this.hold, this.undo, this.outcome);
  }

  /** Offers to correct the label of a remembered event; null: there is nothing to correct. */
  show(event) {
    this.event = event?.event;
    this.element.hidden = !event;
    this.outcome.textContent = NOTHING;
    this.write("");
  }

  /** Shows the next steps: `preview`, `held`, or those of the beginning. */
  write(step) {
    this.ask.hidden = step !== "";
    this.hold.hidden = step !== "preview";
    this.undo.hidden = step !== "held";
  }

  async send(method) {
    const { event } = this;
    this.outcome.textContent = "comparing …";
    try {
      const found = await request(method, `/v1/memory/events/${encodeURIComponent(event)}/correction`);
      if (event !== this.event) return;
      this.write(found.held ? "held" : method === "GET" ? "preview" : "");
      this.outcome.textContent = method === "DELETE" ? "Undone: the label is as it was before." : described(found, method);
    } catch (error) {
      if (event === this.event) this.outcome.textContent = error.message;
    }
  }
}

/** What goes and what stays, and how long it holds. */
function described(found, method) {
  if (found.held && method === "GET") return `${found.label} has this correction already.`;
  const compared = `Of ${found.gone + found.stay} other events of ${found.label} (the last 24 hours, and all answered with Yes), ${found.gone} would go and ${found.stay} stay.`;
  const notes = found.notes.length ? ` Not exact: ${found.notes.join("; ")}.` : "";
  if (method === "GET") return `This event would go. ${compared} ${safe(found)}${notes}`;
  const kept = found.bank_file ? `Kept in ${found.bank_file}.` : "It holds until the server stops; --bank FILE keeps it.";
  return `${found.label} is corrected from the next frame on. ${safe(found)} ${kept}`;
}

/** What becomes of the events that were answered with yes. */
function safe({ right, lost }) {
  if (!right) return "None was answered with Yes, so no right event is protected.";
  return lost.length ? `${lost.length} of ${right} right events would go too!` : `All ${right} right events stay.`;
}
