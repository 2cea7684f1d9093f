// The page: one connection, a card for each camera, the events, the settings, and a form to tag a photo.
import { Actions } from "./actions.js";
import { CameraCard } from "./camera.js";
import { Events } from "./events.js";
import { Live } from "./live.js";
import { Memory } from "./memory.js";
import { PhotoForm } from "./photo.js";
import { Settings } from "./settings.js";
import { byId, useNames } from "./dom.js";

const cards = new Map();
const preview = (label, threshold, tell) => memory.replay(label, threshold, tell);
const settings = new Settings(preview);
const events = new Events(
  (event) => memory.open({ ...event, event: event.id, id: null, kind: "event", time: event.peak_time }),
  (event) => cards.get(event.camera)?.teach.open(event.label),
);
const actions = new Actions(settings, preview);
const memory = new Memory(actions, () => events.query());
let paused = false;

const live = new Live({
  hello(message) {
    byId("model").textContent = `${message.model}, ${message.precision}`;
    byId("version").textContent = `pvlr ${message.version}`;
    for (const id of ["events", "pause"]) byId(id).hidden = message.cameras.length === 0;
    byId("memory").hidden = !message.memory;
    for (const link of document.querySelectorAll("nav a")) link.hidden = document.querySelector(link.hash).hidden;
    byId("none").hidden = message.cameras.length > 0;
    cards.clear();
    byId("cameras").replaceChildren();
    for (const camera of message.cameras) {
      const card = new CameraCard(camera, (kind, label) => live.send({ kind, camera: camera.name, label }));
      card.addHistory(message.history.times, message.history.cameras[camera.name]);
      cards.set(camera.name, card);
      byId("cameras").append(card.element);
    }
    events.begin(message.events, message.now, message.snapshots);
    tellPause();
  },
  labels(message) {
    useNames(message.names);
    settings.load(cards.size > 0, message.taught);
    actions.use(message.open && !byId("memory").hidden);
    events.taught = message.taught;
    events.list();
    for (const [name, card] of cards) {
      card.teach.element.hidden = !message.open;
      card.regions.use(message.regions[name]);
    }
  },
  events(message) {
    events.add(message.events);
  },
  stats(message) {
    for (const [name, stats] of Object.entries(message.cameras)) {
      const card = cards.get(name);
      const news = card.setStats(stats);
      if (news) byId("news").textContent = news;
      if (message.second) card.addSecond(message.second.time, message.second.cameras[name]);
    }
    if (message.second) events.tick(message.second.time);
  },
  async frame(header, jpeg) {
    const card = cards.get(header.camera);
    try {
      await card.show(header, jpeg);
    } finally {
      live.send({ kind: "shown", camera: header.camera });
    }
  },
  state(text, good) {
    byId("connection").textContent = text;
    byId("connection").className = `chip ${good ? "good" : "bad"}`;
    for (const card of cards.values()) card.element.classList.toggle("stale", !good);
  },
});

/** A hidden page needs no frames. */
function tellPause() {
  live.send({ kind: "pause", on: paused || document.hidden });
}

byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", paused);
  tellPause();
});
document.addEventListener("visibilitychange", tellPause);
byId("photo").append(new PhotoForm().element);
live.open();
