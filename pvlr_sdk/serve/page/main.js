// Puts the page together: one connection, a card for each camera, the events, and the photo to try.
import { CameraCard } from "./camera.js";
import { Events } from "./events.js";
import { Live } from "./live.js";
import { PhotoForm } from "./photo.js";
import { byId } from "./dom.js";

const cards = new Map();
const events = new Events();
let paused = false;

const live = new Live({
  hello(message) {
    byId("model").textContent = `${message.model}, ${message.precision}`;
    byId("version").textContent = `pvlr ${message.version}`;
    for (const part of ["events", "pause"]) byId(part).hidden = message.cameras.length === 0;
    cards.clear();
    byId("cameras").replaceChildren();
    for (const camera of message.cameras) {
      const card = new CameraCard(camera, message.labels, (label) => live.send({ kind: "map", camera: camera.name, label }));
      card.addHistory(message.history.times, message.history.cameras[camera.name]);
      cards.set(camera.name, card);
      byId("cameras").append(card.element);
    }
    events.begin(message.notices, message.now);
    tellPause();
  },
  notices(message) {
    events.add(message.notices);
  },
  figures(message) {
    for (const [name, figures] of Object.entries(message.cameras)) {
      const card = cards.get(name);
      const news = card.setFigures(figures);
      if (news) byId("news").textContent = news;
      if (message.second) card.addSecond(message.second.time, message.second.cameras[name]);
    }
    if (message.second) events.tick(message.second.time);
  },
  async picture(header, jpeg) {
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

/** A page that nobody sees needs no pictures. */
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
