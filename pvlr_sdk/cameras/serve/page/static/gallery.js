// The snapshots of the latest events.
import { byId, button, clock, el } from "./dom.js";

const MOST = 12;
const DISABLED = "Start the server with --snapshots DIR to keep an image of each event.";
const NONE = "No snapshots of these events yet.";

export class Gallery {
  /** `open(event)` shows an event. */
  constructor(open) {
    this.open = open;
    this.enabled = false;
    this.shown = null;
  }

  /** `events`: the newest first; `now`: the server's time in seconds. */
  show(events, now) {
    // A snapshot is written in the background, a moment after its event.
    const ready = events.filter((event) => event.snapshot && now - Date.parse(event.start) / 1000 > 2).slice(0, MOST);
    const key = `${this.enabled} ${ready.map((event) => event.id)}`;
    if (key === this.shown) return;
    this.shown = key;
    byId("gallery").replaceChildren(
      ready.length
        ? el("ul", { class: "gallery" }, ...ready.map((event) => el("li", {}, this.thumbnail(event))))
        : el("p", { class: "hint" }, this.enabled ? NONE : DISABLED),
    );
  }

  thumbnail(event) {
    const text = `${event.label} at ${event.camera}, ${clock(Date.parse(event.start) / 1000)}`;
    const source = `/v1/events/${encodeURIComponent(event.id)}/snapshot`;
    const image = el("img", { src: source, alt: "", loading: "lazy" });
    const made = button("", () => this.open(event));
    made.append(image, el("span", {}, text));
    image.addEventListener("error", () => made.remove()); // deleted: the folder has a limit
    return made;
  }
}
