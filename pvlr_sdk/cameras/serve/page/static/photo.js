// A form that tags a photo through the API.
import { el } from "./dom.js";
import { Canvas } from "./canvas.js";
import { Tags } from "./tags.js";

export class PhotoForm {
  constructor() {
    this.input = el("input", { type: "file", id: "file", accept: "image/jpeg,image/png,image/webp" });
    this.canvas = el("canvas", { role: "img", "aria-label": "your photo" });
    this.view = new Canvas(this.canvas);
    this.caption = el("p", { class: "caption", hidden: "" });
    this.message = el("p", { class: "hint", role: "status" }, "JPEG, PNG or WebP. It is sent to this server and not stored.");
    this.tags = new Tags(8, (label) => this.draw(label));
    this.result = el(
      "div",
      { class: "result", hidden: "" },
      el("div", { class: "view" }, this.canvas, this.caption),
      this.tags.element,
    );
    this.element = el("div", {}, el("label", { for: "file", class: "file" }, "Choose a photo"), this.input, this.message, this.result);
    this.input.addEventListener("change", () => this.input.files.length && this.send(this.input.files[0]));
    for (const kind of ["dragover", "drop"]) {
      this.element.addEventListener(kind, (event) => {
        event.preventDefault();
        if (kind === "drop" && event.dataTransfer.files.length) this.send(event.dataTransfer.files[0]);
      });
    }
  }

  async send(file) {
    this.message.textContent = "tagging …";
    this.result.hidden = true;
    try {
      const headers = { "Content-Type": "application/octet-stream" }; // the server looks at the bytes, not at the name
      const answer = await fetch("/v1/tag?attention=true", { method: "POST", headers, body: file });
      if (!answer.ok) throw new Error(explain(answer.status, file.name));
      const body = await answer.json();
      this.image?.close();
      this.image = await createImageBitmap(file);
      this.maps = new Map(body.attention.map((map) => [map.label, map]));
      const found = body.tags.length === 0 ? "no tags" : `${body.tags.length} tag${body.tags.length === 1 ? "" : "s"}`;
      this.message.textContent = `${found} in ${body.timing_ms.total.toFixed(1)} ms`;
      this.tags.set(null);
      this.tags.show(body.tags.map((tag) => [tag.label, tag.score, tag.threshold]));
      this.result.hidden = false;
      this.draw(null);
    } catch (error) {
      this.message.textContent = error instanceof TypeError ? "The server does not answer. Is it still running?" : error.message;
    }
  }

  draw(label) {
    if (!this.image) return;
    const map = this.maps.get(label) ?? null;
    this.view.draw(this.image, map);
    this.canvas.dataset.map = map ? label : "";
    this.caption.hidden = !map;
    this.caption.textContent = map ? `where the model looks for ${label}` : "";
  }
}

/** What a person can do about a failed upload. */
function explain(status, name) {
  if (status === 401) return "You are signed out. Reload the page to sign in again.";
  if (status === 408 || status === 503) return "The server is busy. Try again in a moment.";
  if (status === 413) return `“${name}” is too large. Choose an image with at most 16 MB and 40 megapixels.`;
  if (status !== 422) return `The server answered ${status}; see its log.`;
  return `“${name}” is not a complete JPEG, PNG or WebP image. Choose another file, or save the photo as JPEG first.`;
}
