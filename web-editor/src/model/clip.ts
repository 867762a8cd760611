/** What goes onto the clipboard and into a file, and how it comes back: with ids of its own wherever they are taken. */

import type { FlowDoc, GroupDef, Json, NodeDef, NodeType, SubflowDef, WireDef } from "../api/types";
import { addNode, addWire, ends, freeId, freeName, nodesOf, placeOf, snap, wiresOf, type Point } from "./flow";
import { groupsOf } from "./groups";
import { isPort, subflowName, subflowsOf } from "./subflows";

export interface Clip {
  nodes: NodeDef[];
  wires: WireDef[];
  groups?: GroupDef[];
  subflows?: FlowDoc["subflows"];
  resources?: FlowDoc["resources"];
}

/** Nodes, the wires between them, groups that are chosen as a whole, and the subflows and resources that they use. */
export function clip(flow: FlowDoc, ids: Set<string>): Clip {
  const nodes = nodesOf(flow).filter((node) => ids.has(node.id) && !isPort(node.id));
  const chosen = new Set(nodes.map((node) => node.id));
  const groups = groupsOf(flow).filter((group) => {
    const members = nodesOf(flow).filter((node) => node.group === group.id);
    return members.length > 0 && members.every((node) => chosen.has(node.id));
  });
  const subflows: Record<string, SubflowDef> = {};
  const take = (found: NodeDef[]) => {
    for (const node of found) {
      const name = subflowName(node.type);
      const subflow = name === null ? undefined : subflowsOf(flow)[name];
      if (name === null || !subflow || subflows[name]) continue;
      subflows[name] = subflow;
      take(subflow.nodes ?? []);
    }
  };
  take(nodes);
  const text = JSON.stringify([nodes, subflows]);
  const resources = Object.fromEntries(
    Object.entries(flow.resources ?? {}).filter(([name]) => text.includes(`"$use":${JSON.stringify(name)}`)),
  );
  return {
    nodes,
    wires: wiresOf(flow).filter((wire) => chosen.has(ends(wire.from)[0]) && chosen.has(ends(wire.to)[0])),
    ...(groups.length ? { groups } : {}),
    ...(Object.keys(subflows).length ? { subflows } : {}),
    ...(Object.keys(resources).length ? { resources } : {}),
  };
}

/** Paste with new ids; `at` is where the left upper corner goes. Returns the flow and the new ids. */
export function paste(flow: FlowDoc, clipped: Clip, at: Point): [FlowDoc, Set<string>] {
  const left = Math.min(...clipped.nodes.map((node) => placeOf(node).x));
  const top = Math.min(...clipped.nodes.map((node) => placeOf(node).y));
  const resources = added(flow.resources ?? {}, clipped.resources ?? {});
  const subflows = addedSubflows(flow, clipped.subflows ?? {}, resources.names);
  const groups = new Map<string, string>();
  let next: FlowDoc = { ...flow };
  if (Object.keys(subflows.all).length) next.subflows = subflows.all;
  if (Object.keys(resources.all).length) next.resources = resources.all;
  for (const group of clipped.groups ?? []) {
    const id = freeName(new Set(groupsOf(next).map((one) => one.id)), group.id);
    groups.set(group.id, id);
    next.groups = [...groupsOf(next), { ...group, id }];
  }
  const names = new Map<string, string>();
  for (const node of clipped.nodes) {
    const id = freeId(next, node.id);
    names.set(node.id, id);
    next = addNode(next, { ...node, id });
  }
  next.nodes = nodesOf(next).map((node) => {
    if (![...names.values()].includes(node.id)) return node;
    const { group, ...rest } = node;
    const place = { x: snap(placeOf(node).x - left + at.x), y: snap(placeOf(node).y - top + at.y) };
    const made = { ...named(rest as NodeDef, names, subflows.names, resources.names), ui: { ...node.ui, ...place } };
    return group && groups.has(group) ? { ...made, group: groups.get(group)! } : made;
  });
  const end = (text: string) => `${names.get(ends(text)[0])}.${ends(text)[1]}`;
  for (const wire of clipped.wires) next = addWire(next, { ...wire, from: end(wire.from), to: end(wire.to) });
  return [next, new Set(names.values())];
}

type Names = Map<string, string>;

/** Parts by name, put to those that are there: the same one is shared, another of the same name gets a new name. */
function added<T>(there: Record<string, T>, news: Record<string, T>): { all: Record<string, T>; names: Names } {
  const all = { ...there };
  const names: Names = new Map();
  for (const [name, part] of Object.entries(news)) {
    const isSame = name in there && JSON.stringify(there[name]) === JSON.stringify(part);
    const free = isSame ? name : freeName(new Set(Object.keys(all)), name);
    all[free] = part;
    names.set(name, free);
  }
  return { all, names };
}

function addedSubflows(flow: FlowDoc, news: Record<string, SubflowDef>, resources: Names) {
  const { all, names } = added(subflowsOf(flow), news);
  for (const name of names.values()) {
    const subflow = all[name]!;
    if (name in subflowsOf(flow)) continue; // shared with the one that is there
    all[name] = { ...subflow, nodes: (subflow.nodes ?? []).map((node) => named(node, new Map(), names, resources)) };
  }
  return { all, names };
}

/** A node that names other nodes, its subflow and its resources as they are called now. */
function named(node: NodeDef, nodes: Names, subflows: Names, resources: Names): NodeDef {
  const subflow = subflowName(node.type);
  const type = subflow === null ? node.type : `subflow:${subflows.get(subflow) ?? subflow}`;
  if (!node.config) return { ...node, type };
  const config = { ...(renamed(node.config, resources) as Record<string, Json>) };
  for (const field of ["scope", "links"]) {
    const value = config[field];
    if (Array.isArray(value)) config[field] = value.map((id) => nodes.get(String(id)) ?? id);
  }
  return { ...node, type, config };
}

function renamed(value: Json, resources: Names): Json {
  if (Array.isArray(value)) return value.map((one) => renamed(one, resources));
  if (!value || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [
      key,
      key === "$use" && typeof one === "string" ? (resources.get(one) ?? one) : renamed(one, resources),
    ]),
  );
}

export interface Read {
  kind: "flows" | "nodes" | "nodered";
  flows: FlowDoc[];
  clip: Clip | null;
  /** Node types that are not installed, and how often each is used. */
  missing: [string, number][];
}

export const CLIP = "flowcore-nodes";

/** What a text is that somebody wants to take in. Throws with what is wrong with it. */
export function read(text: string, types: Record<string, NodeType>): Read {
  let said: any;
  try {
    said = JSON.parse(text);
  } catch (error) {
    throw new Error(`This is not JSON: ${(error as Error).message}`);
  }
  if (isNodeRed(said)) return { kind: "nodered", flows: [], clip: null, missing: [] };
  const flows: FlowDoc[] = said?.flowcore === 1 ? [said] : Array.isArray(said?.flows) ? said.flows : [];
  const clipped: Clip | null = said?.[CLIP] ?? (Array.isArray(said?.nodes) && !flows.length ? said : null);
  if (flows.length ? flows.some((one) => !isFlow(one)) : !isClip(clipped))
    throw new Error('This is no flow: a flow file has "flowcore": 1 and an "id"; nodes are what Copy and Export give.');
  const scopes = flows.length ? flows : [clipped!];
  return { kind: flows.length ? "flows" : "nodes", flows, clip: clipped, missing: missingOf(scopes, types) };
}

export function missingOf(scopes: (FlowDoc | Clip)[], types: Record<string, NodeType>): [string, number][] {
  const counts = new Map<string, number>();
  for (const scope of scopes)
    for (const nodes of [scope.nodes, ...Object.values(scope.subflows ?? {}).map((one) => one.nodes)])
      for (const { type } of nodes ?? []) {
        const subflow = subflowName(type);
        const isThere = subflow === null ? types[type] : scope.subflows?.[subflow];
        if (!isThere) counts.set(type, (counts.get(type) ?? 0) + 1);
      }
  return [...counts].sort(([a], [b]) => a.localeCompare(b));
}

const isNode = (one: any) => typeof one?.id === "string" && typeof one?.type === "string";
const isFlow = (one: any) =>
  one?.flowcore === 1 &&
  typeof one.id === "string" &&
  (one.nodes === undefined || (one.nodes as any[]).every?.(isNode));
const isClip = (one: any): one is Clip => Array.isArray(one?.nodes) && one.nodes.length > 0 && one.nodes.every(isNode);

/** An export of Node-RED: a list of nodes, `{flows: [..]}` of its admin API, or one flow of it, `{label, nodes: [..]}`. */
function isNodeRed(said: any): boolean {
  const [list, one] = [Array.isArray(said) ? said : said?.flows, said?.nodes];
  if (Array.isArray(list)) return list.length > 0 && list.every((node) => isNode(node) && node.flowcore === undefined);
  return Array.isArray(one) && said.flowcore === undefined && one.some((node) => isNode(node) && "wires" in node);
}
