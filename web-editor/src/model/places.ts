/** Places for nodes that have none: flows written by hand say what is wired, not where it stands. */

import type { FlowDoc, NodeDef, SubflowDef, WireDef } from "../api/types";
import { ends, NODE_WIDTH, type Point } from "./flow";

const [LEFT, TOP] = [60, 60];
const ACROSS = NODE_WIDTH + 80;
const ROW = 18; // a further port makes a node so much higher
const DOWN = 80;

/** The same document, in which each node has a place: from left to right along the wires, below those that have one. */
export function placed(flow: FlowDoc): FlowDoc {
  const next = withPlaces(flow);
  const subflows = Object.entries(flow.subflows ?? {}).map(([name, one]) => [name, withPlaces(one)] as const);
  return subflows.some(([name, one]) => one !== flow.subflows![name])
    ? { ...next, subflows: Object.fromEntries(subflows) }
    : next;
}

const hasPlace = (node: NodeDef) => node.ui?.x !== undefined && node.ui?.y !== undefined;

function withPlaces<T extends FlowDoc | SubflowDef>(scope: T): T {
  const nodes = scope.nodes ?? [];
  const lost = nodes.filter((node) => !hasPlace(node));
  if (!lost.length) return scope;
  const below = Math.max(TOP - DOWN, ...nodes.filter(hasPlace).map((node) => node.ui!.y!)) + DOWN;
  const places = columns(lost, scope.wires ?? [], below);
  return {
    ...scope,
    nodes: nodes.map((node) => (places.has(node.id) ? { ...node, ui: { ...node.ui, ...places.get(node.id)! } } : node)),
  };
}

function columns(nodes: NodeDef[], wires: WireDef[], top: number): Map<string, Point> {
  const depth = new Map(nodes.map((node) => [node.id, 0]));
  const among = wires
    .map((wire) => [ends(wire.from)[0], ends(wire.to)[0]] as const)
    .filter(([from, to]) => from !== to && depth.has(from) && depth.has(to));
  // A loop would go on for ever: no way is longer than there are nodes.
  for (let round = 1, moved = true; moved && round < nodes.length; round++) {
    moved = false;
    for (const [from, to] of among)
      if (depth.get(to)! <= depth.get(from)! && depth.get(from)! + 1 < nodes.length) {
        depth.set(to, depth.get(from)! + 1);
        moved = true;
      }
  }
  const free: number[] = []; // where a column goes on
  const places = new Map<string, Point>();
  for (const node of nodes) {
    const column = depth.get(node.id)!;
    const before = among.find(([, to]) => to === node.id)?.[0];
    const y = Math.max(free[column] ?? top, (before && places.get(before)?.y) || top);
    const ports = new Set(wires.filter((wire) => ends(wire.from)[0] === node.id).map((wire) => wire.from)).size;
    free[column] = y + DOWN + ROW * Math.max(0, ports - 1);
    places.set(node.id, { x: LEFT + column * ACROSS, y });
  }
  return places;
}
