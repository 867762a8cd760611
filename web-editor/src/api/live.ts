/** The WebSocket: comes back by itself, says again what is watched, hands frames on. */

import type { LiveFrame, Person } from "./types";

const LONGEST_WAIT_MS = 5000;

export class Live {
  private socket: WebSocket | null = null;
  private wait = 250;
  private said: { watch: string[] | null; person: Partial<Person>; pause: boolean } = {
    watch: [],
    person: {},
    pause: false,
  };

  constructor(
    private readonly onFrame: (frame: LiveFrame) => void,
    private readonly onUp: (up: boolean) => void,
  ) {
    this.open();
  }

  watch(flows: string[]) {
    if (JSON.stringify(flows) === JSON.stringify(this.said.watch)) return;
    this.said.watch = flows;
    this.say({ watch: flows });
  }

  introduce(person: Partial<Person>) {
    this.said.person = { ...this.said.person, ...person };
    this.say({ person: this.said.person });
  }

  pause(pause: boolean) {
    this.said.pause = pause;
    this.say({ pause });
  }

  private say(what: object) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(what));
  }

  private open() {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/live`);
    this.socket = socket;
    socket.onopen = () => {
      this.wait = 250;
      this.onUp(true);
      this.say(this.said);
    };
    socket.onmessage = (event) => this.onFrame(JSON.parse(event.data));
    socket.onclose = () => {
      this.onUp(false);
      setTimeout(() => this.open(), this.wait);
      this.wait = Math.min(this.wait * 2, LONGEST_WAIT_MS);
    };
  }
}
