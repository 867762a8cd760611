/** From a flow, or a template as a flow, to what React Flow draws. */

import type { Edge, Node } from "@xyflow/react";
import type { FlowDoc, GroupDef, NodeDef, NodeType } from "../api/types";
import { dirty, ends, nodesOf, placeOf, wireKey, wiresOf, type Point } from "../model/flow";
import { frameOf, groupsOf } from "../model/groups";
import { HIDDEN_PORTS, portsOf, type Ports } from "../model/ports";
import { subflowName, subflowsOf } from "../model/subflows";
import type { WireData } from "./WireView";

export interface NodeData extends Record<string, unknown> {
  def: NodeDef;
  flow: string;
  /** The key of what runs, `<flow>/<instances><node>`; null: nothing of it does. */
  live: string | null;
  ports: Ports;
  title: string;
  category: string;
  icon: string;
  tip: string;
  hasButton: boolean;
  missing: string | null;
  known: boolean;
  changed: boolean;
  problems: string[] | undefined;
}

export interface GroupData extends Record<string, unknown> {
  group: GroupDef;
  count: number;
}

export type NodeBox = Node<NodeData>;
export type GroupBox = Node<GroupData>;
export type CanvasNode = NodeBox | GroupBox;

export interface Drawing {
  flow: FlowDoc;
  deployed: FlowDoc | null;
  id: string;
  /** The template that is drawn; null: the flow itself. */
  template: string | null;
  prefix: string | null;
  /** The wires that run where each is drawn. */
  ways: Map<string, string[]>;
  problems: Record<string, string[]>;
  types: Record<string, NodeType>;
  isDeployed: boolean;
}

export const groupBoxId = (group: string) => `@group:${group}`;

const KINDS: Record<string, string> = {
  "core/comment": "comment",
  "core/junction": "junction",
  "@input": "port",
  "@output": "port",
};

export function drawNodes(drawing: Drawing): CanvasNode[] {
  const { flow, types } = drawing;
  const changed = dirty(flow, drawing.deployed).nodes;
  const used = new Set(wiresOf(flow).map((wire) => wire.from));
  const frames = new Map(groupsOf(flow).map((group) => [group.id, frameOf(flow, group, types)]));
  const groups = groupsOf(flow).map((group): GroupBox => {
    const { x, y, width, height } = frames.get(group.id)!;
    const count = nodesOf(flow).filter((node) => node.group === group.id).length;
    return {
      id: groupBoxId(group.id),
      type: "frame",
      position: { x, y },
      width,
      height,
      zIndex: -1,
      selectable: false,
      data: { group, count },
    };
  });
  const nodes = nodesOf(flow).map((def): NodeBox => {
    const frame = def.group ? frames.get(def.group) : undefined;
    const at = placeOf(def);
    return {
      id: def.id,
      type: KINDS[def.type] ?? "node",
      position: frame ? { x: at.x - frame.x, y: at.y - frame.y } : at,
      ...(frame ? { parentId: groupBoxId(def.group!) } : {}),
      data: dataOf(def, drawing, used, changed),
    };
  });
  return [...groups, ...nodes];
}

function dataOf(def: NodeDef, drawing: Drawing, used: Set<string>, changed: Set<string>): NodeData {
  const { flow, types, id, template, prefix } = drawing;
  const type = types[def.type];
  const name = subflowName(def.type);
  const subflow = name === null ? undefined : subflowsOf(flow)[name];
  const ports = portsOf(def, types, flow);
  const hidden = HIDDEN_PORTS.filter(
    (port) => used.has(`${def.id}.${port.name}`) && !ports.outputs.some((one) => one.name === port.name),
  );
  return {
    def,
    flow: id,
    live: prefix === null ? null : `${id}/${prefix}${def.id}`,
    ports: { inputs: ports.inputs, outputs: [...ports.outputs, ...hidden] },
    title: name === null ? (type?.title ?? def.type) : subflow?.name || name,
    category: name === null ? (type?.category ?? "other") : "subflow",
    icon: name === null ? (type?.icon ?? "") : "workflow",
    tip: type ? `${def.type}: ${type.doc.split("\n")[0]}` : subflow?.description || def.type,
    hasButton: !!type?.is_source && ports.inputs.length > 0 && drawing.isDeployed && prefix !== null,
    missing: type?.missing ?? null,
    known: name === null ? !!type || def.type.startsWith("@") : !!subflow,
    changed: changed.has(def.id),
    problems: drawing.problems[template === null ? def.id : `subflow:${template}/${def.id}`],
  };
}

export function drawWires(drawing: Drawing, chosen: string | null): Edge<WireData>[] {
  const { flow, types, id, ways } = drawing;
  const outputs = new Map(
    nodesOf(flow).flatMap((node) =>
      [...portsOf(node, types, flow).outputs, ...HIDDEN_PORTS].map((port) => [`${node.id}.${port.name}`, port.type]),
    ),
  );
  return wiresOf(flow).map((def) => ({
    id: wireKey(def),
    type: "wire",
    source: ends(def.from)[0],
    sourceHandle: ends(def.from)[1],
    target: ends(def.to)[0],
    targetHandle: ends(def.to)[1],
    selected: chosen === wireKey(def),
    data: {
      flow: id,
      def,
      live: (ways.get(wireKey(def)) ?? []).map((way) => `${id}/${way}`),
      from: ways.get(wireKey(def))?.[0]?.split(">")[0] ?? null,
      type: outputs.get(def.from) ?? "any",
    },
  }));
}

/** Where a node stands on the canvas: React Flow counts from the frame of its group. */
export function placeOnCanvas(node: CanvasNode, frames: Map<string, Point>): Point {
  const frame = node.parentId ? frames.get(node.parentId) : undefined;
  return frame ? { x: node.position.x + frame.x, y: node.position.y + frame.y } : node.position;
}
