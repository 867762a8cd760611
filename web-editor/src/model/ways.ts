/**
 * Which wires run where one is drawn: the runtime joins nodes that run, and knows no junctions and no ports of subflows.
 * Wires over links are not followed.
 */

import type { FlowDoc, NodeDef } from "../api/types";
import { ends, nodesOf, wireKey, wiresOf } from "./flow";
import { isPort, portId, subflowName, templateOf } from "./subflows";

/** From the flow down: each template that is open, and the instance through which. */
export interface Step {
  subflow: string;
  instance: string | null;
}

interface Level {
  flow: FlowDoc;
  prefix: string;
  /** The level that the instance stands in; null: this is the flow itself. */
  around: Level | null;
  instance: string;
}

const DEEPEST = 20;

/** For each wire that is drawn, those that run through it: where it begins and ends, `a.out>b.in`, as the runtime has it. */
export function waysOf(doc: FlowDoc, path: Step[]): Map<string, string[]> {
  let level: Level = { flow: doc, prefix: "", around: null, instance: "" };
  for (const { subflow, instance } of path) {
    if (instance === null) return new Map();
    level = within(level, doc, subflow, instance);
  }
  const ways = new Map<string, string[]>();
  for (const wire of wiresOf(level.flow)) {
    const starts = follow(doc, level, wire.from, "from");
    const stops = follow(doc, level, wire.to, "to");
    ways.set(
      wireKey(wire),
      starts.flatMap((from) => stops.map((to) => `${from}>${to}`)),
    );
  }
  return ways;
}

const within = (level: Level, doc: FlowDoc, subflow: string, instance: string): Level => ({
  flow: templateOf(doc, subflow),
  prefix: `${level.prefix}${instance}:`,
  around: level,
  instance,
});

/** The ports of running nodes that one end of a wire leads to: back to where messages come from, or on to where they go. */
function follow(doc: FlowDoc, level: Level, end: string, way: "from" | "to", deep = 0): string[] {
  if (deep > DEEPEST) return [];
  const [id, port] = ends(end);
  const onward = (at: Level, next: string) =>
    wiresOf(at.flow)
      .filter((wire) => !wire.disabled && wire[way === "from" ? "to" : "from"] === next)
      .flatMap((wire) => follow(doc, at, wire[way], way, deep + 1));
  if (isPort(id)) {
    if (!level.around) return [];
    return onward(level.around, `${level.instance}.${id.slice(id.indexOf(":") + 1)}`);
  }
  const node = nodeIn(level.flow, id);
  if (node?.type === "core/junction") return onward(level, `${id}.${way === "from" ? "in" : "out"}`);
  const subflow = node && subflowName(node.type);
  if (!subflow || !doc.subflows?.[subflow]) return [`${level.prefix}${end}`];
  const inside = within(level, doc, subflow, id);
  return onward(inside, way === "from" ? `${portId("outputs", port)}.in` : `${portId("inputs", port)}.out`);
}

const nodeIn = (flow: FlowDoc, id: string): NodeDef | undefined => nodesOf(flow).find((node) => node.id === id);
