/** What a try needs: which nodes run, where a message can go in, which of them reach beyond the flow. */

import type { FlowDoc, Json, NodeDef, NodeType } from "../api/types";
import { ends, nodesOf, wiresOf } from "./flow";
import { portsOf } from "./ports";
import { isPort } from "./subflows";

export interface Place {
  /** `node.port` */
  place: string;
  label: string;
  /** Nothing that runs sends there: a message comes from outside. */
  isEntry: boolean;
}

const NO_PROCESS = new Set(["core/comment"]);

/** The nodes that run: those that are chosen, or all. */
export const tried = (flow: FlowDoc, chosen: Set<string>): NodeDef[] =>
  nodesOf(flow).filter((node) => (!chosen.size || chosen.has(node.id)) && !node.disabled && !NO_PROCESS.has(node.type));

/** Where a message can go in; what nobody who runs sends to comes first. */
export function placesOf(flow: FlowDoc, chosen: Set<string>, types: Record<string, NodeType>): Place[] {
  const running = tried(flow, chosen);
  const ids = new Set(running.map((node) => node.id));
  const fed = new Set(
    wiresOf(flow)
      .filter((wire) => ids.has(ends(wire.from)[0]) && !wire.disabled)
      .map((wire) => wire.to),
  );
  const places = running.flatMap((node) => {
    const ports = portsOf(node, types, flow);
    const type = types[node.type];
    const name = node.name || node.id;
    if (type?.virtual) return [];
    if (!ports.inputs.length && type?.outside)
      return ports.outputs.map((port) => ({
        place: `${node.id}.${port.name}`,
        label: `from ${name}, ${port.name}`,
        isEntry: true,
      }));
    return ports.inputs.map((port) => ({
      place: `${node.id}.${port.name}`,
      label: ports.inputs.length > 1 ? `into ${name}, ${port.name}` : `into ${name}`,
      isEntry: !fed.has(`${node.id}.${port.name}`),
    }));
  });
  return [...places.filter((one) => one.isEntry), ...places.filter((one) => !one.isEntry)];
}

/** Ids of the nodes that are replaced, and whether they can answer; those inside subflows as `instance:node`. */
export function outsideOf(
  flow: FlowDoc,
  chosen: Set<string>,
  types: Record<string, NodeType>,
): { node: string; answers: boolean }[] {
  const found: { node: string; answers: boolean }[] = [];
  const look = (nodes: NodeDef[], prefix: string, depth: number) => {
    for (const node of nodes) {
      const subflow = node.type.startsWith("subflow:") ? flow.subflows?.[node.type.slice(8)] : undefined;
      if (subflow && depth < 8) look(subflow.nodes ?? [], `${prefix}${node.id}:`, depth + 1);
      else if (types[node.type]?.outside) {
        const ports = portsOf(node, types, flow);
        found.push({ node: prefix + node.id, answers: ports.inputs.length > 0 && ports.outputs.length > 0 });
      }
    }
  };
  look(tried(flow, chosen), "", 0);
  return found;
}

/** A template without the marks that stand for its ports. */
export const withoutPorts = (flow: FlowDoc): FlowDoc => ({
  ...flow,
  nodes: nodesOf(flow).filter((node) => !isPort(node.id)),
  wires: wiresOf(flow).filter((wire) => !isPort(wire.from) && !isPort(wire.to)),
});

/** JSON, or else the text itself: what one types for `21`, `{"t": 21}` and `hot` means just that. */
export function readSample(text: string): { value: Json; wrong: string } {
  const bare = text.trim();
  if (!bare) return { value: null, wrong: "" };
  try {
    return { value: JSON.parse(bare) as Json, wrong: "" };
  } catch (error) {
    if (/^[[{"]/.test(bare)) return { value: null, wrong: `not JSON: ${(error as Error).message}` };
    return { value: bare, wrong: "" };
  }
}

export const milliseconds = (ms: number) =>
  ms < 10 ? `${ms.toFixed(1)} ms` : ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
