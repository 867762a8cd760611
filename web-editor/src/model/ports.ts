/** Port types: which fit, which ports a node has. The same rules as `flowcore/flow/types.py`; a test compares the two. */

import type { FlowDoc, NodeDef, NodeType, Port } from "../api/types";

const ALSO_FITS: Record<string, string[]> = { frame: ["tensor"], model: ["map"] };

function parts(name: string): [string, string[]] {
  if (name.startsWith("model:")) return ["model", []];
  if (name === "frame") return ["frame", ["uint8", "..."]];
  const [base = "", rest] = name.split("[");
  return [
    base,
    rest === undefined
      ? []
      : rest
          .replace(/]$/, "")
          .split(",")
          .map((part) => part.trim()),
  ];
}

export function fits(from: string, to: string): boolean {
  if (from === "any" || to === "any" || from === to) return true;
  const [fromBase, fromDims] = parts(from);
  const [toBase, toDims] = parts(to);
  if (fromBase === "model" && toBase === "model") return false;
  if ([fromBase, toBase].every((base) => base === "frame" || base === "tensor")) return tensorFits(fromDims, toDims);
  return (ALSO_FITS[fromBase] ?? []).includes(toBase);
}

function tensorFits(from: string[], to: string[]): boolean {
  if (!from.length || !to.length) return true;
  const open = (dtype: string) => dtype === "?" || dtype === "any";
  if (!open(to[0]!) && !open(from[0]!) && from[0] !== to[0]) return false;
  const [fromShape, toShape] = [from.slice(1), to.slice(1)];
  if (!fromShape.length || !toShape.length || [...fromShape, ...toShape].includes("...")) return true;
  if (fromShape.length !== toShape.length) return false;
  return fromShape.every((length, k) => length === toShape[k] || length === "?" || toShape[k] === "?");
}

export interface Ports {
  inputs: Port[];
  outputs: Port[];
}

/** Inputs of a node that follows others: deploying wires them to those behind its outputs. */
const TOLD = ["done", "failed"];

const NO_PORTS: Ports = { inputs: [], outputs: [] };

/** The ports of a node as it is configured; a node whose type is not there has those that its wires name. */
export function portsOf(node: NodeDef, types: Record<string, NodeType>, flow: FlowDoc): Ports {
  if (node.type === "@input") return { inputs: [], outputs: [{ name: "out", type: "any", description: "" }] };
  if (node.type === "@output") return { inputs: [{ name: "in", type: "any", description: "" }], outputs: [] };
  if (node.type.startsWith("subflow:")) return subflowPorts(node, types, flow);
  const type = types[node.type];
  if (!type) return wiredPorts(node, flow);
  if (type.virtual === "comment") return NO_PORTS;
  const inputs = type.follows ? type.inputs.filter((port) => !TOLD.includes(port.name)) : type.inputs;
  return {
    inputs: [...inputs, ...portsFrom(type, type.inputs_from, node, "in", type.inputs)],
    outputs: [...type.outputs, ...portsFrom(type, type.outputs_from, node, "out", type.outputs)],
  };
}

/** The ports of an instance: of the type that the inner ports have which they lead to, where that is one type. */
function subflowPorts(node: NodeDef, types: Record<string, NodeType>, flow: FlowDoc): Ports {
  const { [node.type.slice("subflow:".length)]: subflow, ...others } = flow.subflows ?? {};
  if (!subflow) return wiredPorts(node, flow);
  const inside: FlowDoc = { ...flow, nodes: subflow.nodes ?? [], wires: subflow.wires ?? [], subflows: others };
  const ports = (side: keyof Ports): Port[] =>
    Object.entries(subflow[side] ?? {}).map(([name, endpoints]) => {
      const inner = new Set(endpoints.map((end) => portAt(end, side, types, inside)?.type ?? "any"));
      return { name, type: inner.size === 1 ? [...inner][0]! : "any", description: "" };
    });
  return { inputs: ports("inputs"), outputs: ports("outputs") };
}

function portsFrom(type: NodeType, field: string | null, node: NodeDef, stem: string, fixed: Port[]): Port[] {
  if (field === null) return [];
  const value = node.config?.[field] ?? type.config_schema.properties?.[field]?.default;
  let names: string[] = [];
  if (Array.isArray(value) && value.length && value.every((name) => typeof name === "string"))
    names = value as string[];
  else if (Array.isArray(value)) names = value.map((_, k) => `${stem}${k + 1}`);
  else if (typeof value === "number") names = Array.from({ length: value }, (_, k) => `${stem}${k + 1}`);
  const taken = new Set(fixed.map((port) => port.name));
  return names.filter((name) => !taken.has(name)).map((name) => ({ name, type: "any", description: "" }));
}

function wiredPorts(node: NodeDef, flow: FlowDoc): Ports {
  const named = (ends: string[]): Port[] =>
    [...new Set(ends.filter((end) => end.split(".")[0] === node.id).map((end) => end.split(".")[1]!))].map((name) => ({
      name,
      type: "any",
      description: "",
    }));
  const wires = flow.wires ?? [];
  return { inputs: named(wires.map((wire) => wire.to)), outputs: named(wires.map((wire) => wire.from)) };
}

/** Ports that every node has besides, shown when a wire uses them. */
export const HIDDEN_PORTS: Port[] = [
  { name: "error", type: "map", description: "what its handler raised" },
  { name: "status", type: "map", description: "its status changes" },
  { name: "complete", type: "any", description: "each message it has finished" },
  { name: "late", type: "any", description: "messages past their deadline" },
];

/** The port at one end of a wire, `<node>.<port>`; undefined when there is none. */
export function portAt(
  end: string,
  side: keyof Ports,
  types: Record<string, NodeType>,
  flow: FlowDoc,
): Port | undefined {
  const [id, name] = end.split(".");
  const node = (flow.nodes ?? []).find((one) => one.id === id);
  if (!node) return undefined;
  const ports = portsOf(node, types, flow)[side];
  return [...ports, ...(side === "outputs" ? HIDDEN_PORTS : [])].find((port) => port.name === name);
}

/** Why a wire may not go from one port to another; null when it may. */
export function refusal(from: Port | undefined, to: Port | undefined): string | null {
  if (!from || !to) return "no such port";
  if (fits(from.type, to.type)) return null;
  return `${from.name} gives ${from.type}, ${to.name} takes ${to.type}`;
}
