/** What runs, as it was last heard: states, statistics, badges, debug messages. Apart from `editor`, since it changes ten times a second. */

import { create } from "zustand";
import { Live } from "../api/live";
import type { Badge, DebugMessage, ErrorMessage, LiveFrame, LogLine, NodeState, NodeStats, Person } from "../api/types";
import { wireNow, type WireNow } from "../model/health";
import { isDrawn, withoutPictures } from "../model/values";
import { deployedElsewhere } from "./deploy";
import { reloadTypes } from "./editor";
import { remember } from "./past";

const MOST_DEBUG = 300;
const MOST_DRAWN = 20;
const MOST_ERRORS = 100;
const MOST_LOGS = 500;
const FORGET_RATE_MS = 15_000;

interface Now {
  up: boolean;
  me: number;
  states: Record<string, Record<string, NodeState>>; // flow/node -> process -> state
  stats: Record<string, Record<string, NodeStats>>;
  wires: Record<string, WireNow>; // flow/from>to
  badges: Record<string, Badge>;
  debug: DebugMessage[];
  leftOut: number;
  paused: boolean;
  errors: ErrorMessage[];
  unseenErrors: number;
  logs: LogLine[];
  people: Person[];
}

export const useLive = create<Now>(() => ({
  up: true,
  me: 0,
  states: {},
  stats: {},
  wires: {},
  badges: {},
  debug: [],
  leftOut: 0,
  paused: false,
  errors: [],
  unseenErrors: 0,
  logs: [],
  people: [],
}));

let numbers = 0;

const numbered = (one: DebugMessage): DebugMessage => ({ ...one, number: ++numbers, isDrawn: isDrawn(one.value) });

/** The newest messages; those with pictures, which are large, not for as long. */
function kept(messages: DebugMessage[]): DebugMessage[] {
  const newest = messages.slice(-MOST_DEBUG);
  const drawn = newest.filter((one) => one.isDrawn);
  const tooMany = new Set(drawn.slice(0, -MOST_DRAWN));
  return tooMany.size ? newest.map((one) => (tooMany.has(one) ? withoutPictures(one) : one)) : newest;
}

const taken = new Map<string, { taken: number; atMs: number }>();

/** "factory:hot.high->name.in" or alike, as the engine writes a wire, to the editor's `from>to`. */
const keyOfWire = (flow: string, wire: string) => `${flow}/${wire.replace(/#\d+$/, "")}`;

function merged<T extends { node: string; process: string }>(
  old: Record<string, Record<string, T>>,
  news: Record<string, T>,
): Record<string, Record<string, T>> {
  const next = { ...old };
  for (const [key, one] of Object.entries(news)) {
    const at = `${key.split("/")[0]}/${one.node}`;
    next[at] = { ...next[at], [one.process]: one };
  }
  return next;
}

function take(frame: LiveFrame) {
  useLive.setState((now) => {
    const next: Partial<Now> = {};
    if (frame.states) next.states = merged(now.states, frame.states);
    if (frame.stats) {
      next.stats = merged(now.stats, frame.stats);
      remember(frame.stats);
      next.wires = wiresAfter(now.wires, frame.stats);
    }
    if (frame.badges) next.badges = { ...now.badges, ...frame.badges };
    if (frame.debug && !now.paused) next.debug = kept([...now.debug, ...frame.debug.map(numbered)]);
    if (frame.errors) {
      next.errors = [...now.errors, ...frame.errors].slice(-MOST_ERRORS);
      next.unseenErrors = now.unseenErrors + frame.errors.length;
    }
    if (frame.logs) next.logs = [...now.logs, ...frame.logs].slice(-MOST_LOGS);
    if (frame.people) next.people = frame.people;
    if (frame.left_out) next.leftOut = now.leftOut + Object.values(frame.left_out).reduce((a, b) => a + b, 0);
    return next;
  });
  for (const event of frame.events ?? []) {
    if (event.kind === "you") useLive.setState({ me: event.number });
    else if (event.kind === "applied") void deployedElsewhere(event.flow, event.revision);
    else if (event.kind === "types") void reloadTypes();
  }
}

function wiresAfter(old: Record<string, WireNow>, stats: Record<string, NodeStats>): Record<string, WireNow> {
  const next = { ...old };
  const atMs = performance.now();
  for (const [key, one] of Object.entries(stats)) {
    const flow = key.split("/")[0]!;
    for (const out of one.outputs) {
      const at = keyOfWire(flow, out.wire);
      next[at] = { ...wireNow(out, undefined, undefined, atMs), rateHz: next[at]?.rateHz ?? 0 };
    }
    for (const into of one.inputs) {
      const at = keyOfWire(flow, into.wire);
      const before = taken.get(at);
      const is = wireNow(undefined, into, before, atMs);
      const was = next[at];
      next[at] = was ? { ...was, rateHz: is.rateHz, drops: Math.max(was.drops, is.drops) } : is;
      if (!before || atMs - before.atMs > 900) taken.set(at, { taken: into.taken, atMs });
      if (before && atMs - before.atMs > FORGET_RATE_MS) next[at] = { ...next[at]!, rateHz: 0 };
    }
  }
  return next;
}

export const live = new Live(take, (up) => useLive.setState({ up }));

export function pauseDebug(paused: boolean) {
  live.pause(paused);
  useLive.setState({ paused });
}
export const clearDebug = () => useLive.setState({ debug: [], leftOut: 0 });
export const clearErrors = () => useLive.setState({ errors: [], unseenErrors: 0 });
export const seenErrors = () => useLive.setState({ unseenErrors: 0 });
