/** Two changes of one flow, made beside each other: the difference of two documents, and both put together node by node. */

import type { FlowDoc, NodeDef, WireDef } from "../api/types";
import { nodesOf, wireKey, wiresOf } from "./flow";

export interface Difference {
  added: Set<string>;
  removed: Set<string>;
  changed: Set<string>;
  wiresAdded: Set<string>;
  wiresRemoved: Set<string>;
}

const text = (value: unknown) => JSON.stringify(value);

function index<T>(parts: T[], key: (part: T) => string): Map<string, T> {
  return new Map(parts.map((part) => [key(part), part]));
}

export function difference(before: FlowDoc, after: FlowDoc): Difference {
  const [old, now] = [index(nodesOf(before), (node) => node.id), index(nodesOf(after), (node) => node.id)];
  const [oldWires, nowWires] = [index(wiresOf(before), wireKey), index(wiresOf(after), wireKey)];
  const keys = (of: Map<string, unknown>, without: Map<string, unknown>) =>
    new Set([...of.keys()].filter((key) => !without.has(key)));
  const bare = (node: NodeDef | undefined) => text({ ...node, ui: undefined });
  return {
    added: keys(now, old),
    removed: keys(old, now),
    changed: new Set([...now.keys()].filter((id) => old.has(id) && bare(old.get(id)) !== bare(now.get(id)))),
    wiresAdded: keys(nowWires, oldWires),
    wiresRemoved: keys(oldWires, nowWires),
  };
}

export interface Merged {
  flow: FlowDoc;
  /** What both changed in different ways; the merged flow has mine there. */
  conflicts: string[];
}

/** Mine and theirs, both made from `base`. */
export function merge(base: FlowDoc, mine: FlowDoc, theirs: FlowDoc): Merged {
  const conflicts: string[] = [];
  const nodes = mergeParts(nodesOf(base), nodesOf(mine), nodesOf(theirs), (node: NodeDef) => node.id, conflicts);
  const there = new Set(nodes.map((node) => node.id));
  const wires = mergeParts(wiresOf(base), wiresOf(mine), wiresOf(theirs), wireKey, conflicts).filter((wire: WireDef) =>
    [wire.from, wire.to].every((end) => there.has(end.split(".")[0]!)),
  );
  const flow: FlowDoc = { ...mine, nodes, wires };
  for (const name of new Set([...Object.keys(mine), ...Object.keys(theirs)])) {
    if (name === "nodes" || name === "wires") continue;
    const [was, me, they] = [text(base[name]), text(mine[name]), text(theirs[name])];
    if (me === was) flow[name] = theirs[name];
    else if (they !== was && they !== me) conflicts.push(name);
    if (flow[name] === undefined) delete flow[name];
  }
  return { flow, conflicts };
}

function mergeParts<T>(base: T[], mine: T[], theirs: T[], key: (part: T) => string, conflicts: string[]): T[] {
  const [was, me, they] = [index(base, key), index(mine, key), index(theirs, key)];
  const merged: T[] = [];
  for (const name of new Set([...me.keys(), ...they.keys()])) {
    const [b, m, t] = [was.get(name), me.get(name), they.get(name)];
    const iChanged = text(b) !== text(m);
    const theyChanged = text(b) !== text(t);
    if (iChanged && theyChanged && text(m) !== text(t)) conflicts.push(name);
    const chosen = iChanged ? m : t;
    if (chosen !== undefined) merged.push(chosen);
    else if (iChanged && theyChanged && t !== undefined) merged.push(t); // I removed what they changed: theirs stays
  }
  return merged;
}
