/** Nodes put in order: moved by steps, brought into line, spread evenly; and which hang together. */

import type { FlowDoc, NodeType } from "../api/types";
import { ends, moveNodes, nodesOf, placeOf, wiresOf, type Point } from "./flow";
import { boxOf } from "./groups";

export const LINES = ["left", "centre", "right", "top", "middle", "bottom"] as const;
export type Line = (typeof LINES)[number];

type Types = Record<string, NodeType>;

const boxes = (flow: FlowDoc, ids: Set<string>, types: Types) =>
  nodesOf(flow)
    .filter((node) => ids.has(node.id))
    .map((node) => ({ id: node.id, ...boxOf(node, types, flow) }));

/** Bring nodes onto one line: the outermost of them, or the middle of all. */
export function align(flow: FlowDoc, ids: Set<string>, line: Line, types: Types): FlowDoc {
  const chosen = boxes(flow, ids, types);
  if (chosen.length < 2) return flow;
  const [at, size] = ["left", "centre", "right"].includes(line)
    ? (["x", "width"] as const)
    : (["y", "height"] as const);
  const low = Math.min(...chosen.map((box) => box[at]));
  const high = Math.max(...chosen.map((box) => box[at] + box[size]));
  const share = line === "left" || line === "top" ? 0 : line === "right" || line === "bottom" ? 1 : 0.5;
  const place = (box: (typeof chosen)[number]) => low + (high - low - box[size]) * share;
  return moveNodes(flow, new Map(chosen.map((box) => [box.id, { x: box.x, y: box.y, [at]: place(box) }])));
}

/** Give nodes the same room between them; the outermost two stay. */
export function distribute(flow: FlowDoc, ids: Set<string>, axis: "across" | "down", types: Types): FlowDoc {
  const [at, size] = axis === "across" ? (["x", "width"] as const) : (["y", "height"] as const);
  const chosen = boxes(flow, ids, types).sort((a, b) => a[at] - b[at]);
  if (chosen.length < 3) return flow;
  const last = chosen.at(-1)!;
  const filled = chosen.reduce((sum, box) => sum + box[size], 0);
  const gap = (last[at] + last[size] - chosen[0]![at] - filled) / (chosen.length - 1);
  let next = chosen[0]![at];
  const places = new Map<string, Point>();
  for (const box of chosen) {
    places.set(box.id, { x: box.x, y: box.y, [at]: next });
    next += box[size] + gap;
  }
  return moveNodes(flow, places);
}

export function nudge(flow: FlowDoc, ids: Set<string>, x: number, y: number): FlowDoc {
  const chosen = nodesOf(flow).filter((node) => ids.has(node.id));
  if (!chosen.length) return flow;
  return moveNodes(flow, new Map(chosen.map((node) => [node.id, { x: placeOf(node).x + x, y: placeOf(node).y + y }])));
}

/** The nodes that hang together with some, over any number of wires. */
export function connected(flow: FlowDoc, ids: Set<string>): Set<string> {
  const reached = new Set(ids);
  for (let before = -1; before !== reached.size;) {
    before = reached.size;
    for (const wire of wiresOf(flow)) {
      const [a, b] = [ends(wire.from)[0], ends(wire.to)[0]];
      if (reached.has(a) || reached.has(b)) reached.add(a).add(b);
    }
  }
  return reached;
}
