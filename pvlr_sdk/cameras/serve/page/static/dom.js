// Helpers for elements. Strings become text, never HTML.
const SVG = "http://www.w3.org/2000/svg";

export function byId(id) {
  return document.getElementById(id);
}

/** An HTML element with attributes and children; children are elements or strings. */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** An SVG element. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

let names = {};

/** The names of labels in the language of the site, by label. */
export function useNames(named) {
  names = named;
}

/** What is shown for a label. */
export function labelName(label) {
  return names[label] ?? label;
}

export function button(text, onClick, attributes = {}) {
  const made = el("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", onClick);
  return made;
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** The server's JSON answer; throws an Error with a message for the person. */
export async function request(method, path, body) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) }).catch(() => null);
  const content = await answer?.json().catch(() => null);
  if (!content) throw new Error("Not changed: the server does not answer.");
  if (!answer.ok) throw new Error(method === "GET" ? content.detail : `Not changed: ${content.detail}`);
  return content;
}

/** Formats seconds: 55 ms, 1.2 s. */
export function duration(seconds) {
  return seconds < 0.9995 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`;
}

/** Formats the local time of day, with or without seconds. */
export function clock(seconds, exact = true) {
  return new Date(1000 * seconds).toTimeString().slice(0, exact ? 8 : 5);
}
