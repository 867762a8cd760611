/** What lies under a place on the canvas, and where things go that are dropped there. */

import type { FlowDoc, NodeDef, NodeType } from "../api/types";
import { addNode, addWire, newNode, nodesOf, snap, splice, type Point } from "../model/flow";
import { boxOf, groupAt, regroup } from "../model/groups";
import { portAt, portsOf, refusal } from "../model/ports";
import { reaches, subflowName } from "../model/subflows";

const NEAR_X = 24;
const NEAR_Y = 20;

/** The wire whose line passes at a place on the canvas, if any. */
export function wireUnder(at: Point): string | null {
  for (const path of document.querySelectorAll<SVGPathElement>(".react-flow__edge-path")) {
    const box = path.getBBox();
    if (at.x < box.x - NEAR_X || at.x > box.x + box.width + NEAR_X) continue;
    if (at.y < box.y - NEAR_Y || at.y > box.y + box.height + NEAR_Y) continue;
    const length = path.getTotalLength();
    for (let s = 0; s <= length; s += 6) {
      const point = path.getPointAtLength(s);
      if (Math.abs(point.x - at.x) < NEAR_X && Math.abs(point.y - at.y) < NEAR_Y)
        return path.closest(".react-flow__edge")?.getAttribute("data-id") ?? null;
    }
  }
  return null;
}

type Types = Record<string, NodeType>;

export function middleOf(node: NodeDef, types: Types, flow: FlowDoc): Point {
  const box = boxOf(node, types, flow);
  return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
}

/** A new node: into the wire under it, wired from the port that asked for it, into the group that it stands in. */
export function put(flow: FlowDoc, type: string, at: Point, types: Types, wire: string | null, from?: string) {
  const made = newNode(flow, type, at);
  let next = addNode(flow, made);
  if (from) {
    const source = portAt(from, "outputs", types, next);
    const input = portsOf(made, types, next).inputs.find((port) => refusal(source, port) === null);
    if (input) next = addWire(next, { from, to: `${made.id}.${input.name}` });
  } else if (wire) next = splice(next, made.id, wire, types) ?? next;
  const group = groupAt(flow, middleOf(made, types, next), types);
  return [group ? regroup(next, new Set([made.id]), group) : next, made.id] as const;
}

/** Why a node of a type may not stand in a template; null when it may. */
export function notInside(flow: FlowDoc, type: string, template: string | null): string | null {
  const name = subflowName(type);
  if (name === null || template === null || !reaches(flow, name, template)) return null;
  return name === template ? "a subflow cannot stand in itself" : `${name} uses ${template} itself`;
}

/** A junction in the middle of a wire, or where one points. */
export function insertJunction(
  flow: FlowDoc,
  key: string,
  types: Types,
  at?: Point,
): readonly [FlowDoc, string] | null {
  const middle = at ?? middleOfWire(key);
  const made = {
    ...newNode(flow, "core/junction", { x: 0, y: 0 }),
    ui: { x: snap(middle.x - 10), y: snap(middle.y - 17) },
  };
  const next = splice(addNode(flow, made), made.id, key, types);
  return next && [next, made.id];
}

function middleOfWire(key: string): Point {
  const path = document.querySelector<SVGPathElement>(`[data-id="${CSS.escape(key)}"] .react-flow__edge-path`);
  return path ? path.getPointAtLength(path.getTotalLength() / 2) : { x: 0, y: 0 };
}

/** The places of nodes after a drag; those of a group that was dragged go with it. */
export function draggedTo(
  flow: FlowDoc,
  dragged: { id: string; at: Point }[],
  frames: Map<string, Point>,
  groupBoxId: (group: string) => string,
): Map<string, Point> {
  const places = new Map<string, Point>();
  const shifts = new Map<string, Point>();
  for (const { id, at } of dragged) {
    const frame = frames.get(id);
    if (frame) shifts.set(id, { x: at.x - frame.x, y: at.y - frame.y });
    else places.set(id, at);
  }
  for (const node of nodesOf(flow)) {
    const shift = node.group ? shifts.get(groupBoxId(node.group)) : undefined;
    if (shift && !places.has(node.id))
      places.set(node.id, { x: (node.ui?.x ?? 40) + shift.x, y: (node.ui?.y ?? 40) + shift.y });
  }
  return places;
}

export function toggled(ids: Set<string>, id: string): Set<string> {
  const next = new Set(ids);
  if (!next.delete(id)) next.add(id);
  return next;
}
