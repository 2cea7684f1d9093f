// An image on a canvas, with the attention map of a label over it.
const DARK = [8, 12, 20];
const WARM = [255, 176, 46];

export class Canvas {
  constructor(canvas) {
    this.canvas = canvas;
    this.heat = document.createElement("canvas");
  }

  /** Draws an image; `map` is `{rows, columns, weights}` with weights from 0 to 1 over `region`, or null. */
  draw(image, map, region = null) {
    if (this.canvas.width !== image.width || this.canvas.height !== image.height) {
      this.canvas.width = image.width;
      this.canvas.height = image.height;
    }
    const context = this.canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const [left, top, width, height] = region ?? [0, 0, 1, 1];
    const box = [left * image.width, top * image.height, width * image.width, height * image.height];
    if (map) {
      this.fill(map);
      context.imageSmoothingQuality = "high";
      context.drawImage(this.heat, ...box);
    }
    if (region) {
      context.strokeStyle = "rgba(255, 255, 255, 0.8)";
      context.lineWidth = Math.max(1, image.width / 400);
      context.setLineDash([6, 5]);
      context.strokeRect(...box);
      context.setLineDash([]);
    }
  }

  /** Fills the map: dark for weight 0, warm for weight 1. */
  fill({ rows, columns, weights }) {
    this.heat.width = columns;
    this.heat.height = rows;
    const pixels = new ImageData(columns, rows);
    weights.forEach((weight, cell) => {
      const channels = DARK.map((dark, channel) => dark + weight * (WARM[channel] - dark));
      pixels.data.set([...channels, 255 * (0.66 - 0.22 * weight)], 4 * cell);
    });
    this.heat.getContext("2d").putImageData(pixels, 0, 0);
  }
}
