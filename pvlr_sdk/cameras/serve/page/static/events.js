// The events: a filter, a timeline, the latest ones as a list, their snapshots, and a CSV file.
import { byId, button, clock, el, labelName, request, svg } from "./dom.js";
import { Gallery } from "./gallery.js";

// Name, length and grid spacing on a wide screen, in seconds.
const RANGES = [["2 min", 120, 30], ["10 min", 600, 120], ["1 h", 3600, 600]];
const ROW = 24;
const MOST_ROWS = 16;
const LATEST = 8;
const REMEMBERED = 1000;
const COLUMNS = ["id", "camera", "label", "start", "end", "duration", "peak", "peak_time", "reason", "snapshot", "region"];

const NONE_CHOSEN = "No event matches the filter.";
const NONE_YET = "No events yet. An event begins when a label reaches its threshold and stays near it for a while.";

/** A choice of one camera or label, or of all. */
class Filter {
  constructor(key, onChange) {
    this.key = key;
    this.select = el("select", { id: `filter-${key}` }, el("option", { value: "" }, "all"));
    this.select.addEventListener("change", onChange);
    const label = el("label", { for: this.select.id }, `${key[0].toUpperCase()}${key.slice(1)}`);
    this.element = el("span", {}, label, this.select);
  }

  /** Adds the names in events that it does not have yet. */
  offer(events) {
    const known = new Set([...this.select.options].map((option) => option.value));
    const fresh = new Set([...events].map((event) => event[this.key]).filter((name) => !known.has(name)));
    this.select.append(...[...fresh].sort().map((name) => el("option", { value: name }, name)));
  }

  accepts(event) {
    return this.select.value === "" || event[this.key] === this.select.value;
  }
}

export class Events {
  /** `open(event)` shows an event. `picked(event)` is called after an event has become an example of its label; labels in
   *  `taught` can learn so. */
  constructor(open, picked) {
    this.open = open;
    this.picked = picked;
    this.taught = [];
    this.events = new Map();
    this.range = 600;
    this.now = Date.now() / 1000;
    this.buttons = RANGES.map(([text, seconds]) =>
      button(text, () => this.choose(seconds), { "aria-pressed": seconds === this.range }),
    );
    byId("ranges").append(...this.buttons);
    this.gallery = new Gallery(open);
    this.filters = ["camera", "label"].map((key) => new Filter(key, () => this.filter()));
    byId("filters").append(...this.filters.map((filter) => filter.element), button("Export CSV", () => this.export()));
    new ResizeObserver(() => this.draw()).observe(byId("timeline"));
    // Of what lies under the pointer: the timeline may have been drawn again since the button went down.
    byId("timeline").addEventListener("click", ({ clientX, clientY }) => {
      const event = this.events.get(document.elementFromPoint(clientX, clientY)?.dataset.event);
      if (event) open(event);
    });
  }

  /** Shows the events that the server keeps; `now` is its time. */
  begin(events, now, snapshots) {
    this.events.clear();
    this.now = now;
    this.gallery.enabled = snapshots;
    this.add(events);
  }

  add(events) {
    for (const event of events) {
      const known = this.events.get(event.id);
      this.events.delete(event.id); // the newest last
      this.events.set(event.id, { ...known, ...event });
    }
    for (const id of this.events.keys()) {
      if (this.events.size <= REMEMBERED) break;
      this.events.delete(id);
    }
    for (const filter of this.filters) filter.offer(this.events.values());
    this.filter();
  }

  filter() {
    this.draw();
    this.list();
  }

  /** The choice of the filter, as parameters of a request. */
  query() {
    const chosen = this.filters.filter((filter) => filter.select.value).map((filter) => [filter.key, filter.select.value]);
    return `?${new URLSearchParams(chosen)}`;
  }

  /** The events that the filter lets through. */
  chosen() {
    return [...this.events.values()].filter((event) => this.filters.every((filter) => filter.accepts(event)));
  }

  /** Saves the events that the filter lets through as a CSV file, one row per event. */
  export() {
    // As escape.csv_row of the SDK: an apostrophe keeps a spreadsheet from reading a name as a formula.
    const plain = (value) => (/^[=+\-@\t\r\n＝＋－＠]/.test(value) ? `'${value}` : value);
    const quote = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
    const rows = this.chosen().map((event) => COLUMNS.map((name) => quote(plain(`${event[name] ?? ""}`))).join(","));
    const file = new Blob([[COLUMNS.join(","), ...rows, ""].join("\r\n")], { type: "text/csv" });
    const link = el("a", { href: URL.createObjectURL(file), download: "events.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  tick(now) {
    this.now = now;
    this.draw();
    this.gallery.show(this.newest(), now);
  }

  newest() {
    return this.chosen().sort((event, other) => (event.start < other.start ? 1 : -1));
  }

  choose(seconds) {
    this.range = seconds;
    this.buttons.forEach((button, index) => button.setAttribute("aria-pressed", RANGES[index][1] === seconds));
    this.draw();
  }

  draw() {
    const begin = this.now - this.range;
    const shown = this.chosen().filter((event) => !event.end || seconds(event.end) > begin);
    const names = [...new Set(shown.map((event) => `${place(event)}\n${event.label}`))].sort().slice(0, MOST_ROWS);
    const holder = byId("timeline");
    if (!names.length) {
      holder.replaceChildren(el("p", { class: "hint" }, "No events in this time span."));
      return;
    }
    const width = Math.max(holder.clientWidth, 240);
    const left = Math.min(170, width * 0.34);
    const height = names.length * ROW + 26;
    const across = (time) => left + (width - left) * Math.min(Math.max((time - begin) / this.range, 0), 1);
    const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img" });
    drawing.setAttribute("aria-label", `Timeline: ${shown.length} events of ${names.length} labels. The list below has their times.`);
    names.forEach((name, row) => {
      const [camera, label] = name.split("\n");
      drawing.append(
        svg("rect", { class: "lane", x: left, y: row * ROW + 3, width: width - left, height: ROW - 6, rx: 4 }),
        svg("text", { class: "lane-name", x: 0, y: row * ROW + 16 }, shorten(`${labelName(label)} · ${camera}`, left / 7)),
      );
    });
    this.axis(drawing, begin, across, names.length * ROW);
    for (const event of shown) {
      const row = names.indexOf(`${place(event)}\n${event.label}`);
      if (row < 0) continue;
      const from = across(seconds(event.start));
      const until = event.end ? across(seconds(event.end)) : width;
      const bar = svg("rect", { x: from, y: row * ROW + 3, width: Math.max(until - from, 3), height: ROW - 6, rx: 4 });
      bar.setAttribute("class", event.end ? "event" : "event open");
      bar.dataset.event = event.id;
      bar.append(svg("title", {}, describe(event)));
      drawing.append(bar);
    }
    holder.replaceChildren(drawing);
  }

  axis(drawing, begin, across, y) {
    const [, , distance] = RANGES.find(([, seconds]) => seconds === this.range);
    const step = across(this.now) - across(begin) > 400 ? distance : 2 * distance;
    for (let time = Math.ceil(begin / step) * step; time < this.now; time += step) {
      const x = across(time);
      if (x > across(this.now) - 30 || x < across(begin) + 20) continue;
      drawing.append(
        svg("line", { class: "grid", x1: x, x2: x, y1: 0, y2: y }),
        svg("text", { class: "axis", x, y: y + 17, "text-anchor": "middle" }, clock(time, this.range < 600)),
      );
    }
  }

  list() {
    const newest = this.newest();
    this.gallery.show(newest, this.now);
    const items = newest.slice(0, LATEST).map((event) =>
      el(
        "li",
        { class: event.end ? "" : "open" },
        el("time", { datetime: event.start }, clock(seconds(event.start))),
        button(labelName(event.label), () => this.open(event), {
          class: "link",
          "aria-label": `Show ${describe(event)}`,
          "data-key": event.id,
        }),
        el("span", { class: "where" }, place(event)),
        el("span", { class: "how" }, event.end ? lasted(event) : "ongoing"),
        el("span", { class: "peak" }, `peak ${event.peak.toFixed(2)}`),
        ...(this.taught.includes(event.label) ? [this.question(event)] : []),
      ),
    );
    const focused = document.activeElement.dataset.key;
    byId("latest").replaceChildren(
      items.length
        ? el("ol", { class: "latest" }, ...items)
        : el("p", { class: "hint" }, this.events.size ? NONE_CHOSEN : NONE_YET),
    );
    if (focused) document.querySelector(`[data-key="${focused}"]`)?.focus();
  }

  /** Two buttons that make the frame with the highest score of an event an example of its label. */
  question(event) {
    const answer = (text, is) =>
      button(text, () => this.pick(event, is), {
        "aria-label": `${text}: ${event.label} at ${place(event)}, ${clock(seconds(event.start))}`,
        "aria-pressed": event.is === is,
        "data-key": `${event.id} ${is}`,
      });
    return el("span", { class: "choices" }, answer("Yes", true), answer("No", false));
  }

  async pick({ id, camera, label }, is) {
    try {
      const found = await request("POST", "/v1/teach/examples", { event: id, camera, label, is });
      this.events.get(id).is = is;
      byId("picked").textContent = `${label}: ${found.positives} positive and ${found.negatives} negative examples.`;
      this.picked({ camera, label });
      this.list();
    } catch (error) {
      byId("picked").textContent = error.message;
    }
  }
}

/** The camera, and its region if it has regions. */
function place({ camera, region }) {
  return region ? `${camera}, ${region}` : camera;
}

function describe(event) {
  const ending = event.end ? `until ${clock(seconds(event.end))}, ${event.reason}` : event.health ?? "ongoing";
  return `${event.label} at ${place(event)}: from ${clock(seconds(event.start))} ${ending}; peak ${event.peak.toFixed(2)}`;
}

/** The duration, and why it ended if not by its score. */
function lasted(event) {
  return `${event.duration.toFixed(1)} s${event.reason === "score" ? "" : `, ${event.reason}`}`;
}

function seconds(text) {
  return Date.parse(text) / 1000;
}

function shorten(text, most) {
  return text.length > most ? `${text.slice(0, Math.max(most - 1, 1))}…` : text;
}
