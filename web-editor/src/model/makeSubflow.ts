/** A subflow made of nodes that are there: what crosses its border becomes its ports. */

import type { FlowDoc, NodeDef, SubflowDef, WireDef } from "../api/types";
import { addWire, ends, freeName, nodesOf, placeOf, slug, wiresOf } from "./flow";
import { groupsOf, withoutEmptied } from "./groups";
import { BESIDE, isPort, subflowsOf } from "./subflows";

/**
 * Make a subflow of nodes and put an instance in their place. Wires that cross the border become ports: those that reach
 * the same inner ports share an input, those that leave the same inner port share an output.
 *
 * Returns the scope with the instance, the instance's id and the subflow's name; null when nothing was chosen.
 */
export function makeSubflow(scope: FlowDoc, ids: Set<string>, title: string): [FlowDoc, string, string] | null {
  const inner = nodesOf(scope).filter((node) => ids.has(node.id) && !isPort(node.id));
  if (!inner.length) return null;
  const chosen = new Set(inner.map((node) => node.id));
  const [left, top] = [Math.min(...inner.map((n) => placeOf(n).x)), Math.min(...inner.map((n) => placeOf(n).y))];
  const name = freeName(new Set(Object.keys(subflowsOf(scope))), slug(title) || "subflow");
  const instance = freeName(new Set(nodesOf(scope).map((node) => node.id)), name);
  const has = (end: string) => chosen.has(ends(end)[0]);
  const into = wiresOf(scope).filter((wire) => has(wire.to) && !has(wire.from));
  const outOf = wiresOf(scope).filter((wire) => has(wire.from) && !has(wire.to));
  const within = wiresOf(scope).filter((wire) => has(wire.from) && has(wire.to));

  const inputs: Record<string, string[]> = {};
  const outputs: Record<string, string[]> = {};
  const outside: WireDef[] = [];
  const reached = gathered(into, (wire) => JSON.stringify({ ...wire, to: "" })); // same source, same delivery
  const shared = gathered(reached, ([, wires]) =>
    wires
      .map((wire) => wire.to)
      .sort()
      .join(" "),
  );
  for (const [targets, sources] of shared) {
    const port = freeName(new Set(Object.keys(inputs)), ends(targets.split(" ")[0]!)[1], "_");
    inputs[port] = targets.split(" ");
    for (const [, wires] of sources) outside.push({ ...wires[0]!, to: `${instance}.${port}` });
  }
  for (const [source, wires] of gathered(outOf, (wire) => wire.from)) {
    const port = freeName(new Set(Object.keys(outputs)), ends(source)[1], "_");
    outputs[port] = [source];
    for (const wire of wires) outside.push({ ...wire, from: `${instance}.${port}` });
  }

  const moved = inner.map((node) => ({
    ...node,
    ui: { ...node.ui, x: placeOf(node).x - left + BESIDE + 40, y: placeOf(node).y - top + 80 },
  }));
  const groups = groupsOf(scope).filter((group) => {
    const members = nodesOf(scope).filter((node) => node.group === group.id);
    return members.length > 0 && members.every((node) => chosen.has(node.id));
  });
  const kept = new Set(groups.map((group) => group.id));
  const around = inner.map((node) => node.group).find((group) => group && !kept.has(group));
  const subflow: SubflowDef = {
    name: title,
    inputs,
    outputs,
    nodes: moved.map((node) => (node.group && !kept.has(node.group) ? without(node, "group") : node)),
    wires: within,
    ...(groups.length ? { groups } : {}),
  };
  const middle = { x: (left + Math.max(...inner.map((n) => placeOf(n).x))) / 2, y: top };
  const node: NodeDef = {
    id: instance,
    type: `subflow:${name}`,
    ui: { x: Math.round(middle.x / 20) * 20, y: middle.y },
    ...(around ? { group: around } : {}),
  };
  let next: FlowDoc = {
    ...scope,
    nodes: [...nodesOf(scope).filter((one) => !chosen.has(one.id)), node].map((one) =>
      listening(one, chosen, instance),
    ),
    wires: wiresOf(scope).filter((wire) => !has(wire.from) && !has(wire.to)),
    subflows: { ...subflowsOf(scope), [name]: subflow },
  };
  for (const wire of outside) next = addWire(next, wire);
  return [withoutEmptied(scope, next), instance, name];
}

/** Catch, status and complete nodes that name nodes which have moved inside, name the instance now. */
function listening(node: NodeDef, moved: Set<string>, instance: string): NodeDef {
  const scope = node.config?.scope;
  if (!Array.isArray(scope) || !scope.some((id) => moved.has(String(id)))) return node;
  return {
    ...node,
    config: { ...node.config, scope: [...new Set(scope.map((id) => (moved.has(String(id)) ? instance : id)))] },
  };
}

function without<T extends object>(value: T, name: keyof T): T {
  const next = { ...value };
  delete next[name];
  return next;
}

function gathered<T>(list: Iterable<T>, keyOf: (one: T) => string): Map<string, T[]> {
  const found = new Map<string, T[]>();
  for (const one of list) found.set(keyOf(one), [...(found.get(keyOf(one)) ?? []), one]);
  return found;
}
