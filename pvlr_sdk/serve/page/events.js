// What came and went: a timeline, and the newest notices as text.
import { byId, button, clock, el, svg } from "./dom.js";

// Their names, lengths and the distances of the lines on a wide screen, in seconds.
const RANGES = [["2 min", 120, 30], ["10 min", 600, 120], ["1 h", 3600, 600]];
const ROW = 24;
const MOST_ROWS = 16;
const LATEST = 8;
const REMEMBERED = 1000;

export class Events {
  constructor() {
    this.events = new Map();
    this.range = 600;
    this.ahead = 0;
    this.now = Date.now() / 1000;
    this.buttons = RANGES.map(([text, seconds]) =>
      button(text, () => this.choose(seconds), { "aria-pressed": seconds === this.range }),
    );
    byId("ranges").append(...this.buttons);
    new ResizeObserver(() => this.draw()).observe(byId("timeline"));
  }

  /** Start with what the server remembers; `now` is its time. */
  begin(notices, now) {
    this.events.clear();
    this.now = now;
    this.add(notices);
  }

  add(notices) {
    for (const notice of notices) {
      const known = this.events.get(notice.id);
      this.events.delete(notice.id); // the newest last
      this.events.set(notice.id, { ...known, ...notice });
    }
    for (const id of this.events.keys()) {
      if (this.events.size <= REMEMBERED) break;
      this.events.delete(id);
    }
    this.draw();
    this.list();
  }

  tick(now) {
    this.now = now;
    this.draw();
  }

  choose(seconds) {
    this.range = seconds;
    this.buttons.forEach((one, index) => one.setAttribute("aria-pressed", RANGES[index][1] === seconds));
    this.draw();
  }

  draw() {
    const begin = this.now - this.range;
    const shown = [...this.events.values()].filter((event) => !event.end || seconds(event.end) > begin);
    const names = [...new Set(shown.map((event) => `${event.camera}\n${event.label}`))].sort().slice(0, MOST_ROWS);
    const holder = byId("timeline");
    if (!names.length) {
      holder.replaceChildren(el("p", { class: "hint" }, "Nothing in this time."));
      return;
    }
    const width = Math.max(holder.clientWidth, 240);
    const left = Math.min(170, width * 0.34);
    const height = names.length * ROW + 26;
    const across = (time) => left + (width - left) * Math.min(Math.max((time - begin) / this.range, 0), 1);
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img" });
    picture.setAttribute("aria-label", `Timeline: ${shown.length} events of ${names.length} labels; the list below says when.`);
    names.forEach((name, row) => {
      const [camera, label] = name.split("\n");
      picture.append(
        svg("rect", { class: "lane", x: left, y: row * ROW + 3, width: width - left, height: ROW - 6, rx: 4 }),
        svg("text", { class: "lane-name", x: 0, y: row * ROW + 16 }, shorten(`${label} · ${camera}`, left / 7)),
      );
    });
    this.axis(picture, begin, across, names.length * ROW);
    for (const event of shown) {
      const row = names.indexOf(`${event.camera}\n${event.label}`);
      if (row < 0) continue;
      const from = across(seconds(event.start));
      const until = event.end ? across(seconds(event.end)) : width;
      const bar = svg("rect", { x: from, y: row * ROW + 3, width: Math.max(until - from, 3), height: ROW - 6, rx: 4 });
      bar.setAttribute("class", event.end ? "event" : "event open");
      bar.append(svg("title", {}, describe(event)));
      picture.append(bar);
    }
    holder.replaceChildren(picture);
  }

  axis(picture, begin, across, y) {
    const [, , distance] = RANGES.find(([, seconds]) => seconds === this.range);
    const step = across(this.now) - across(begin) > 400 ? distance : 2 * distance;
    for (let time = Math.ceil(begin / step) * step; time < this.now; time += step) {
      const x = across(time);
      if (x > across(this.now) - 30 || x < across(begin) + 20) continue;
      picture.append(
        svg("line", { class: "grid", x1: x, x2: x, y1: 0, y2: y }),
        svg("text", { class: "axis", x, y: y + 17, "text-anchor": "middle" }, clock(time, this.range < 600)),
      );
    }
  }

  list() {
    const newest = [...this.events.values()].sort((one, other) => (one.start < other.start ? 1 : -1)).slice(0, LATEST);
    const items = newest.map((event) =>
      el(
        "li",
        { class: event.end ? "" : "open" },
        el("time", { datetime: event.start }, clock(seconds(event.start))),
        el("b", {}, event.label),
        el("span", { class: "where" }, event.camera),
        el("span", { class: "how" }, event.end ? lasted(event) : "there now"),
        el("span", { class: "peak" }, `peak ${event.peak.toFixed(2)}`),
      ),
    );
    byId("latest").replaceChildren(
      items.length
        ? el("ol", { class: "latest" }, ...items)
        : el("p", { class: "hint" }, "Nothing yet. An event begins when a label stays above its threshold for a while."),
    );
  }
}

function describe(event) {
  const ending = event.end ? `until ${clock(seconds(event.end))}, ${event.reason}` : "there now";
  return `${event.label} at ${event.camera}: from ${clock(seconds(event.start))} ${ending}; peak ${event.peak.toFixed(2)}`;
}

/** How long, and why it ended if the label didn't just go away. */
function lasted(event) {
  return `${event.duration.toFixed(1)} s${event.reason === "score" ? "" : `, ${event.reason}`}`;
}

function seconds(text) {
  return Date.parse(text) / 1000;
}

function shorten(text, most) {
  return text.length > most ? `${text.slice(0, Math.max(most - 1, 1))}…` : text;
}
