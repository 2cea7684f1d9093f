// The connection: opens the WebSocket and reconnects.
const LONGEST = 5000;

export class Live {
  /** `handlers`: hello, labels, events, stats (messages), frame(header, jpeg) and state(text, good). */
  constructor(handlers) {
    this.handlers = handlers;
    this.failures = 0;
  }

  open() {
    const address = new URL("/v1/live", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    this.socket = new WebSocket(address);
    this.socket.binaryType = "arraybuffer";
    this.socket.addEventListener("message", ({ data }) => this.receive(data));
    this.socket.addEventListener("close", () => this.again());
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  receive(data) {
    if (data instanceof ArrayBuffer) {
      const length = new DataView(data).getUint32(0);
      const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
      this.handlers.frame(header, new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
      return;
    }
    const message = JSON.parse(data);
    if (message.kind === "hello") {
      this.failures = 0;
      this.handlers.state("connected", true);
    }
    this.handlers[message.kind](message);
  }

  async again() {
    this.handlers.state("disconnected; reconnecting", false);
    const pause = Math.min(500 * 2 ** this.failures, LONGEST);
    this.failures += 1;
    await new Promise((resolve) => setTimeout(resolve, pause));
    try {
      // The token may have changed; a rejected WebSocket has no status.
      const answer = await fetch("/v1/labels");
      if (answer.status === 401) {
        location.assign("/signin");
        return;
      }
    } catch {
      this.again();
      return;
    }
    this.open();
  }
}
