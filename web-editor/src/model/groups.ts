/** Groups: which nodes stand in one, the frame that goes around them, and what joins or leaves when nodes are dropped. */

import type { FlowDoc, GroupDef, NodeDef, NodeType } from "../api/types";
import { freeName, nodesOf, NODE_WIDTH, placeOf, type Point } from "./flow";
import { portsOf } from "./ports";

export interface Box extends Point {
  width: number;
  height: number;
}

export const COLOURS = ["grey", "red", "orange", "yellow", "green", "blue", "purple"] as const;
const PAD = 20;
const LABEL = 20;
const UNDER = 16; // what a node says of itself stands below it
const EMPTY = { width: 200, height: 100 };

export const groupsOf = (flow: FlowDoc) => flow.groups ?? [];
export const membersOf = (flow: FlowDoc, group: string) => nodesOf(flow).filter((node) => node.group === group);

/** Where a node is drawn, and how large. */
export function boxOf(node: NodeDef, types: Record<string, NodeType>, flow: FlowDoc): Box {
  if (node.type === "core/junction") return { ...placeOf(node), width: 20, height: 34 };
  const ports = portsOf(node, types, flow);
  const rows = Math.max(ports.inputs.length, ports.outputs.length, 1);
  return { ...placeOf(node), width: NODE_WIDTH, height: 34 + (rows - 1) * 18 };
}

/** The frame of a group: around its nodes, with room for its label. */
export function frameOf(flow: FlowDoc, group: GroupDef, types: Record<string, NodeType>): Box {
  const boxes = membersOf(flow, group.id).map((node) => boxOf(node, types, flow));
  if (!boxes.length) return { x: Number(group.ui?.x ?? 40), y: Number(group.ui?.y ?? 40), ...EMPTY };
  const left = Math.min(...boxes.map((box) => box.x)) - PAD;
  const top = Math.min(...boxes.map((box) => box.y)) - PAD - LABEL;
  const right = Math.max(...boxes.map((box) => box.x + box.width)) + PAD;
  const bottom = Math.max(...boxes.map((box) => box.y + box.height)) + PAD + UNDER;
  return { x: left, y: top, width: right - left, height: bottom - top };
}

const isIn = (point: Point, box: Box) =>
  point.x >= box.x && point.x <= box.x + box.width && point.y >= box.y && point.y <= box.y + box.height;

/** The group whose frame a point lies in; the smallest of several. */
export function groupAt(
  flow: FlowDoc,
  point: Point,
  types: Record<string, NodeType>,
  except: Set<string> = new Set(),
): string | null {
  const found = groupsOf(flow)
    .filter((group) => !except.has(group.id))
    .map((group) => ({ id: group.id, box: frameOf(flow, group, types) }))
    .filter(({ box }) => isIn(point, box))
    .sort((a, b) => a.box.width * a.box.height - b.box.width * b.box.height);
  return found[0]?.id ?? null;
}

const withGroup = (node: NodeDef, group: string | null): NodeDef => {
  const { group: _, ...rest } = node;
  return group === null ? rest : { ...rest, group };
};

/** Put nodes into a group, or out of theirs; a group that its last node leaves is gone. */
export function regroup(flow: FlowDoc, ids: Set<string>, group: string | null): FlowDoc {
  const nodes = nodesOf(flow).map((node) =>
    ids.has(node.id) && (node.group ?? null) !== group ? withGroup(node, group) : node,
  );
  return withoutEmptied(flow, { ...flow, nodes });
}

/** A changed flow without those groups that had nodes before and have none now. */
export function withoutEmptied(before: FlowDoc, after: FlowDoc): FlowDoc {
  if (!after.groups?.length) return after;
  const groups = after.groups.filter(
    (group) => membersOf(after, group.id).length || !membersOf(before, group.id).length,
  );
  return groups.length === after.groups.length ? after : { ...after, groups };
}

export function makeGroup(flow: FlowDoc, ids: Set<string>): [FlowDoc, string] | null {
  const chosen = nodesOf(flow).filter((node) => ids.has(node.id) && !node.id.startsWith("@"));
  if (!chosen.length) return null;
  const id = freeName(new Set(groupsOf(flow).map((group) => group.id)), "group");
  const grouped = regroup({ ...flow, groups: [...groupsOf(flow), { id }] }, new Set(chosen.map((node) => node.id)), id);
  return [grouped, id];
}

/** Take groups apart; their nodes stay where they are. */
export function ungroup(flow: FlowDoc, groups: Set<string>): FlowDoc {
  return {
    ...flow,
    nodes: nodesOf(flow).map((node) => (node.group && groups.has(node.group) ? withGroup(node, null) : node)),
    groups: groupsOf(flow).filter((group) => !groups.has(group.id)),
  };
}

export function changeGroup(flow: FlowDoc, id: string, change: (group: GroupDef) => GroupDef): FlowDoc {
  return { ...flow, groups: groupsOf(flow).map((group) => (group.id === id ? change(group) : group)) };
}

/**
 * After nodes were dropped at new places: one whose middle lies in the frame of a group joins it, one that was dragged
 * out of its own leaves it. Frames count as they were before; a group that moved as a whole stays one.
 */
export function dropped(before: FlowDoc, after: FlowDoc, moved: Set<string>, types: Record<string, NodeType>): FlowDoc {
  const whole = new Set(
    groupsOf(before)
      .filter((group) => membersOf(before, group.id).every((node) => moved.has(node.id)))
      .map((group) => group.id),
  );
  let next = after;
  for (const node of nodesOf(after)) {
    if (!moved.has(node.id) || node.id.startsWith("@") || (node.group && whole.has(node.group))) continue;
    const box = boxOf(node, types, after);
    const middle = { x: box.x + box.width / 2, y: box.y + box.height / 2 };
    const group = groupAt(before, middle, types, whole);
    if (group !== (node.group ?? null)) next = regroup(next, new Set([node.id]), group);
  }
  return next;
}
