/** Changes of a flow document. Each returns a new document and leaves the old one as it was: that is what undo goes back to. */

import type { FlowDoc, Json, NodeDef, NodeType, SubflowDef, WireDef } from "../api/types";
import { withoutEmptied } from "./groups";
import { fits, portAt, portsOf, type Ports } from "./ports";

export interface Point {
  x: number;
  y: number;
}

export const GRID = 20;
export const NODE_WIDTH = 160;
export const NODE_HEIGHT = 40;

export const snap = (value: number) => Math.round(value / GRID) * GRID;
export const nodesOf = (flow: FlowDoc) => flow.nodes ?? [];
export const wiresOf = (flow: FlowDoc) => flow.wires ?? [];
export const wireKey = (wire: WireDef) => `${wire.from}>${wire.to}`;
export const ends = (end: string): [string, string] => end.split(".") as [string, string];
export const placeOf = (node: NodeDef): Point => ({ x: node.ui?.x ?? 40, y: node.ui?.y ?? 40 });

export const slug = (text: string) =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 50);

/** A name that is not taken: the wish itself, or with a number behind. */
export function freeName(taken: Set<string>, wish: string, between = "-"): string {
  if (!taken.has(wish)) return wish;
  const bare = wish.replace(/[-_]\d+$/, "");
  for (let k = 2; ; k++) if (!taken.has(`${bare}${between}${k}`)) return `${bare}${between}${k}`;
}

/** An id that is free in the flow, made of what a user would call it. */
export const freeId = (flow: FlowDoc, wish: string): string =>
  freeName(new Set(nodesOf(flow).map((node) => node.id)), slug(wish) || "node");

export function newNode(flow: FlowDoc, type: string, at: Point): NodeDef {
  return { id: freeId(flow, type.split(/[/:]/)[1] ?? type), type, ui: { x: snap(at.x), y: snap(at.y) } };
}

export const addNode = (flow: FlowDoc, node: NodeDef): FlowDoc => ({ ...flow, nodes: [...nodesOf(flow), node] });

export function changeNode(flow: FlowDoc, id: string, change: (node: NodeDef) => NodeDef): FlowDoc {
  return { ...flow, nodes: nodesOf(flow).map((node) => (node.id === id ? change(node) : node)) };
}

/** A node with another id, everywhere it is named. */
export function renameNode(flow: FlowDoc, id: string, to: string): FlowDoc {
  const end = (text: string) => (ends(text)[0] === id ? `${to}.${ends(text)[1]}` : text);
  return {
    ...changeNode(flow, id, (node) => ({ ...node, id: to })),
    wires: wiresOf(flow).map((wire) => ({ ...wire, from: end(wire.from), to: end(wire.to) })),
  };
}

export function removeNodes(flow: FlowDoc, ids: Set<string>): FlowDoc {
  return withoutEmptied(flow, {
    ...flow,
    nodes: nodesOf(flow).filter((node) => !ids.has(node.id)),
    wires: wiresOf(flow).filter((wire) => !ids.has(ends(wire.from)[0]) && !ids.has(ends(wire.to)[0])),
  });
}

/** Remove a node and join who sent to it with who heard it, where their ports fit. */
export function removeAndJoin(flow: FlowDoc, id: string, types: Record<string, NodeType>): FlowDoc {
  const into = wiresOf(flow).filter((wire) => ends(wire.to)[0] === id && ends(wire.from)[0] !== id);
  const outOf = wiresOf(flow).filter((wire) => ends(wire.from)[0] === id && ends(wire.to)[0] !== id);
  let joined = removeNodes(flow, new Set([id]));
  for (const first of into)
    for (const second of outOf)
      if (fits(typeAt(joined, first.from, "outputs", types), typeAt(joined, second.to, "inputs", types)))
        joined = addWire(joined, { ...second, from: first.from, to: second.to });
  return joined;
}

const typeAt = (flow: FlowDoc, end: string, side: keyof Ports, types: Record<string, NodeType>): string =>
  portAt(end, side, types, flow)?.type ?? "any";

export function addWire(flow: FlowDoc, wire: WireDef): FlowDoc {
  if (wiresOf(flow).some((one) => wireKey(one) === wireKey(wire))) return flow;
  return { ...flow, wires: [...wiresOf(flow), wire] };
}

export function removeWires(flow: FlowDoc, keys: Set<string>): FlowDoc {
  return { ...flow, wires: wiresOf(flow).filter((wire) => !keys.has(wireKey(wire))) };
}

export function changeWire(flow: FlowDoc, key: string, change: Partial<WireDef>): FlowDoc {
  const changed = (wire: WireDef): WireDef => {
    const next: WireDef = { ...wire, ...change };
    for (const name of Object.keys(next)) if (next[name] === undefined) delete next[name];
    return next;
  };
  return { ...flow, wires: wiresOf(flow).map((wire) => (wireKey(wire) === key ? changed(wire) : wire)) };
}

/** Put a node into a wire: its first input and output that fit take the wire's ends; null when none do. */
export function splice(flow: FlowDoc, id: string, key: string, types: Record<string, NodeType>): FlowDoc | null {
  const wire = wiresOf(flow).find((one) => wireKey(one) === key);
  const node = nodesOf(flow).find((one) => one.id === id);
  if (!wire || !node || [ends(wire.from)[0], ends(wire.to)[0]].includes(id)) return null;
  const { inputs, outputs } = portsOf(node, types, flow);
  const [from, to] = [typeAt(flow, wire.from, "outputs", types), typeAt(flow, wire.to, "inputs", types)];
  const input = inputs.find((port) => fits(from, port.type));
  const output = outputs.find((port) => fits(port.type, to));
  if (!input || !output) return null;
  const { from: begin, to: end, ...how } = wire;
  return addWire(addWire(removeWires(flow, new Set([key])), { ...how, from: begin, to: `${id}.${input.name}` }), {
    from: `${id}.${output.name}`,
    to: end,
  });
}

export function moveNodes(flow: FlowDoc, places: Map<string, Point>): FlowDoc {
  return {
    ...flow,
    nodes: nodesOf(flow).map((node) => {
      const at = places.get(node.id);
      return at ? { ...node, ui: { ...node.ui, x: Math.round(at.x), y: Math.round(at.y) } } : node;
    }),
  };
}

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

/**
 * What a deploy would find: nodes that are new or differ in more than their place, instances whose subflow differs, and
 * whether anything differs.
 */
export function dirty(flow: FlowDoc, deployed: FlowDoc | null): { any: boolean; nodes: Set<string> } {
  if (!deployed) return { any: true, nodes: new Set(nodesOf(flow).map((node) => node.id)) };
  if (flow === deployed) return { any: false, nodes: new Set() };
  const before = new Map(nodesOf(deployed).map((node) => [node.id, node]));
  const bare = ({ ui: _ui, ...node }: NodeDef) => node;
  const subflows = changedSubflows(flow, deployed);
  const nodes = new Set(
    nodesOf(flow)
      .filter(
        (node) =>
          subflows.has(node.type) ||
          (before.get(node.id) !== node && !same(bare(node), bare(before.get(node.id) ?? ({} as NodeDef)))),
      )
      .map((node) => node.id),
  );
  return { any: nodes.size > 0 || !same(flow, deployed), nodes };
}

/** The types, `subflow:<name>`, whose instances run otherwise now: they or what they use have changed. */
function changedSubflows(flow: FlowDoc, deployed: FlowDoc): Set<string> {
  const changed = new Set<string>();
  if (flow.subflows === deployed.subflows) return changed;
  const bare = (subflow: SubflowDef | undefined) =>
    subflow && { ...subflow, ui: undefined, nodes: subflow.nodes?.map((node) => ({ ...node, ui: undefined })) };
  for (const [name, subflow] of Object.entries(flow.subflows ?? {}))
    if (!same(bare(subflow), bare(deployed.subflows?.[name]))) changed.add(`subflow:${name}`);
  for (let before = -1; before !== changed.size;) {
    before = changed.size;
    for (const [name, subflow] of Object.entries(flow.subflows ?? {}))
      if (subflow.nodes?.some((node) => changed.has(node.type))) changed.add(`subflow:${name}`);
  }
  return changed;
}

/**
 * Problems of the runtime's validator by node: "<file>:3 /nodes/2/config/band: must be ..". A node of a template is
 * `subflow:<name>/<id>`, and what is wrong with the template itself `subflow:<name>`.
 */
export function problemsByNode(problems: string[], flow: FlowDoc): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  for (const problem of problems) {
    const at = / (?:\/subflows\/([^/\s]+))?(?:\/(nodes|wires)\/(\d+))?\S*: (.*)$/.exec(problem);
    if (!at) continue;
    const [, subflow, kind, index, text] = at;
    const scope = subflow ? flow.subflows?.[subflow] : flow;
    const wire = kind === "wires" ? scope?.wires?.[Number(index)] : undefined;
    const id = kind === "nodes" ? scope?.nodes?.[Number(index)]?.id : wire && ends(wire.from)[0];
    const key = subflow ? `subflow:${subflow}${id ? `/${id}` : ""}` : id;
    if (key) (found[key] ??= []).push(text!);
  }
  return found;
}

export const emptyFlow = (id: string, name: string): FlowDoc => ({ flowcore: 1, id, name, nodes: [], wires: [] });

export const asObject = (value: Json | undefined): Record<string, Json> =>
  value && typeof value === "object" && !Array.isArray(value) ? value : {};
