/**
 * Subflows: a template is edited as a flow of its own, its ports as nodes of type `@input` and `@output` that wires lead
 * from and to. `templateOf` makes that flow, `withTemplate` writes it back, so that every change of a flow works in both.
 */

import type { FlowDoc, NodeDef, SubflowDef, WireDef } from "../api/types";
import { ends, freeName, nodesOf, placeOf, slug, wiresOf, type Point } from "./flow";

export const INPUT = "@input";
export const OUTPUT = "@output";
export const BESIDE = 200;
const PORT_SIDES = { inputs: { type: INPUT, sign: "@in:" }, outputs: { type: OUTPUT, sign: "@out:" } } as const;
export type PortSide = keyof typeof PORT_SIDES;

export const subflowsOf = (flow: FlowDoc) => flow.subflows ?? {};
export const subflowName = (type: string) => (type.startsWith("subflow:") ? type.slice("subflow:".length) : null);
export const isPort = (id: string) => id.startsWith("@");
export const portId = (side: PortSide, name: string) => PORT_SIDES[side].sign + name;

const views = new WeakMap<FlowDoc, Map<string, FlowDoc>>();

/** A template as a flow. The same one for the same document, so that what draws it can compare. */
export function templateOf(flow: FlowDoc, name: string): FlowDoc {
  const subflow = subflowsOf(flow)[name];
  if (!subflow) return flow;
  const known = views.get(flow) ?? new Map<string, FlowDoc>();
  views.set(flow, known);
  let view = known.get(name);
  if (!view) known.set(name, (view = opened(flow, subflow)));
  return view;
}

function opened(flow: FlowDoc, subflow: SubflowDef): FlowDoc {
  const inner = subflow.nodes ?? [];
  const places = inner.map(placeOf);
  const left = Math.min(200, ...places.map((at) => at.x));
  const right = Math.max(200, ...places.map((at) => at.x));
  const kept = (subflow.ui?.ports ?? {}) as Record<string, Point>;
  const height = new Map(inner.map((node) => [node.id, placeOf(node).y]));
  const ports = (side: PortSide, x: number): NodeDef[] => {
    let free = -Infinity; // a port stands beside the node that it leads to, below those before it
    return Object.entries(subflow[side] ?? {}).map(([name, endpoints], k) => {
      const id = portId(side, name);
      const y = Math.max(free, height.get(ends(endpoints[0] ?? ".")[0]) ?? 80 + k * 60);
      free = y + 60;
      return { id, type: PORT_SIDES[side].type, name, ui: { ...(kept[id] ?? { x, y }) } };
    });
  };
  const wires = (side: PortSide): WireDef[] =>
    Object.entries(subflow[side] ?? {}).flatMap(([name, endpoints]) =>
      endpoints.map((end) =>
        side === "inputs"
          ? { from: `${portId(side, name)}.out`, to: end }
          : { from: end, to: `${portId(side, name)}.in` },
      ),
    );
  return {
    ...flow,
    nodes: [...ports("inputs", left - BESIDE), ...ports("outputs", right + BESIDE), ...inner],
    wires: [...wires("inputs"), ...wires("outputs"), ...(subflow.wires ?? [])],
    groups: subflow.groups ?? [],
  };
}

/** A document with the template as it was edited; wires of instances to ports that are gone, are gone. */
export function withTemplate(flow: FlowDoc, name: string, view: FlowDoc): FlowDoc {
  const before = subflowsOf(flow)[name];
  if (!before) return flow;
  const at: Record<string, Point> = {};
  const ports = (side: PortSide) =>
    Object.fromEntries(
      nodesOf(view)
        .filter((node) => node.type === PORT_SIDES[side].type)
        .map((node) => {
          at[node.id] = placeOf(node);
          const [mine, other] = side === "inputs" ? (["from", "to"] as const) : (["to", "from"] as const);
          const endpoints = wiresOf(view).filter((wire) => ends(wire[mine])[0] === node.id && !isPort(wire[other]));
          return [node.id.slice(PORT_SIDES[side].sign.length), endpoints.map((wire) => wire[other])];
        }),
    );
  const subflow: SubflowDef = {
    ...before,
    inputs: ports("inputs"),
    outputs: ports("outputs"),
    nodes: nodesOf(view).filter((node) => !isPort(node.id)),
    wires: wiresOf(view).filter((wire) => !isPort(wire.from) && !isPort(wire.to)),
    ui: { ...before.ui, ports: at as any },
  };
  if (view.groups?.length || before.groups) subflow.groups = view.groups ?? [];
  const next: FlowDoc = {
    ...view,
    nodes: flow.nodes,
    wires: flow.wires,
    groups: flow.groups,
    subflows: { ...subflowsOf(view), [name]: subflow },
  };
  if (next.groups === undefined) delete next.groups;
  return withoutLoose(next, name, before, subflow);
}

function withoutLoose(flow: FlowDoc, name: string, before: SubflowDef, after: SubflowDef): FlowDoc {
  const gone = (side: PortSide) => Object.keys(before[side] ?? {}).filter((port) => !(port in (after[side] ?? {})));
  const [into, outOf] = [gone("inputs"), gone("outputs")];
  if (!into.length && !outOf.length) return flow;
  return everywhere(flow, (scope) => {
    const uses = instancesIn(scope, name);
    if (!uses.size) return scope;
    const isLoose = (end: string, ports: string[]) => uses.has(ends(end)[0]) && ports.includes(ends(end)[1]);
    const wires = wiresOf(scope).filter((wire) => !isLoose(wire.to, into) && !isLoose(wire.from, outOf));
    return { ...scope, wires };
  });
}

const instancesIn = (scope: FlowDoc, name: string) =>
  new Set(
    nodesOf(scope)
      .filter((node) => subflowName(node.type) === name)
      .map((node) => node.id),
  );

/** Change the flow and each of its templates in the same way. */
function everywhere(flow: FlowDoc, change: (scope: FlowDoc) => FlowDoc): FlowDoc {
  let next = change(flow);
  for (const name of Object.keys(subflowsOf(flow))) {
    const view = templateOf(next, name);
    const changed = change(view);
    if (changed !== view) next = withTemplate(next, name, changed);
  }
  return next;
}

export interface Use {
  /** The template that the instance stands in; null: the flow itself. */
  inside: string | null;
  node: string;
}

/** Where a subflow is used. */
export function usesOf(flow: FlowDoc, name: string): Use[] {
  const scopes: [string | null, NodeDef[]][] = [
    [null, nodesOf(flow)],
    ...Object.entries(subflowsOf(flow)).map(([id, one]) => [id, one.nodes ?? []] as [string, NodeDef[]]),
  ];
  return scopes.flatMap(([inside, nodes]) =>
    nodes.filter((node) => subflowName(node.type) === name).map((node) => ({ inside, node: node.id })),
  );
}

/** Whether a subflow uses another, itself or through one that it uses: that one may not use it. */
export function reaches(flow: FlowDoc, name: string, wanted: string, seen: Set<string> = new Set()): boolean {
  if (name === wanted) return true;
  if (seen.has(name)) return false;
  seen.add(name);
  return (subflowsOf(flow)[name]?.nodes ?? []).some((node) => {
    const inner = subflowName(node.type);
    return inner !== null && reaches(flow, inner, wanted, seen);
  });
}

export function changeSubflow(flow: FlowDoc, name: string, change: (subflow: SubflowDef) => SubflowDef): FlowDoc {
  const subflow = subflowsOf(flow)[name];
  return subflow ? { ...flow, subflows: { ...flow.subflows, [name]: change(subflow) } } : flow;
}

export function removeSubflow(flow: FlowDoc, name: string): FlowDoc {
  const { [name]: _, ...subflows } = subflowsOf(flow);
  return { ...flow, subflows };
}

export function newSubflow(flow: FlowDoc, title: string): [FlowDoc, string] {
  const id = freeName(new Set(Object.keys(subflowsOf(flow))), slug(title) || "subflow");
  const made: SubflowDef = { name: title, inputs: { in: [] }, outputs: { out: [] }, nodes: [], wires: [] };
  return [{ ...flow, subflows: { ...subflowsOf(flow), [id]: made } }, id];
}

/** A port on a template that is open, with a name that is free. */
export function addPort(view: FlowDoc, side: PortSide, at: Point): FlowDoc {
  const { type, sign } = PORT_SIDES[side];
  const taken = new Set(nodesOf(view).map((node) => node.id.replace(sign, "")));
  const name = freeName(taken, side === "inputs" ? "in" : "out", "_");
  return { ...view, nodes: [...nodesOf(view), { id: sign + name, type, name, ui: { ...at } }] };
}

/** Another name for a port, also where instances are wired to it. */
export function renamePort(flow: FlowDoc, subflow: string, side: PortSide, name: string, to: string): FlowDoc {
  const renamed = changeSubflow(flow, subflow, (one) => {
    const kept = { ...((one.ui?.ports ?? {}) as Record<string, Point>) };
    const place = kept[portId(side, name)];
    delete kept[portId(side, name)];
    if (place) kept[portId(side, to)] = place;
    const ports = Object.entries(one[side] ?? {}).map(([key, ends]) => [key === name ? to : key, ends]);
    return { ...one, [side]: Object.fromEntries(ports), ui: { ...one.ui, ports: kept as any } };
  });
  const end = side === "inputs" ? "to" : "from";
  return everywhere(renamed, (scope) => {
    const uses = instancesIn(scope, subflow);
    const isIt = (wire: WireDef) => uses.has(ends(wire[end])[0]) && ends(wire[end])[1] === name;
    if (!wiresOf(scope).some(isIt)) return scope;
    const wires = wiresOf(scope).map((wire) => (isIt(wire) ? { ...wire, [end]: `${ends(wire[end])[0]}.${to}` } : wire));
    return { ...scope, wires };
  });
}
