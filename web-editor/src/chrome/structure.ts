/** Actions that change how a flow is put together: groups, subflows, junctions. They work on what is selected. */

import { insertJunction } from "../canvas/pick";
import { nodesOf } from "../model/flow";
import { makeGroup, membersOf, ungroup } from "../model/groups";
import { makeSubflow } from "../model/makeSubflow";
import { newSubflow, removeSubflow, subflowsOf, usesOf } from "../model/subflows";
import { activeTab, edit, editFlow, openDialog, select, shownFlow, toast, useEditor } from "../state/editor";
import { openSubflow } from "../state/view";

const state = useEditor.getState;

export function groupSelection() {
  const flow = shownFlow(state());
  const made = flow && makeGroup(flow, state().selected.nodes);
  if (!made) return toast("note", "Select the nodes that belong together first");
  edit(() => made[0]);
  select(
    membersOf(made[0], made[1]).map((node) => node.id),
    null,
    made[1],
  );
}

export function ungroupSelection() {
  const { nodes, group } = state().selected;
  const flow = shownFlow(state());
  if (!flow) return;
  const chosen = group
    ? [group]
    : nodesOf(flow).flatMap((node) => (nodes.has(node.id) && node.group ? [node.group] : []));
  if (!chosen.length) return toast("note", "Nothing that is selected stands in a group");
  edit((doc) => ungroup(doc, new Set(chosen)));
  select(nodes);
}

export function editGroup() {
  const { nodes, group } = state().selected;
  const flow = shownFlow(state());
  const id = group ?? nodesOf(flow!).find((node) => nodes.has(node.id))?.group;
  if (id) openDialog({ kind: "group", id });
  else toast("note", "Nothing that is selected stands in a group");
}

export function makeSubflowOfSelection() {
  const flow = shownFlow(state());
  const made = flow && makeSubflow(flow, state().selected.nodes, "Subflow");
  if (!made) return toast("note", "Select the nodes that become a subflow first");
  const [next, instance, name] = made;
  edit(() => next);
  select([instance]);
  openDialog({ kind: "subflow", id: name });
}

export function addSubflow() {
  const tab = activeTab(state());
  if (!tab) return;
  const [next, name] = newSubflow(tab.doc, "Subflow");
  editFlow(() => next);
  openSubflow(name);
  openDialog({ kind: "subflow", id: name });
}

export function deleteSubflow(name: string) {
  const tab = activeTab(state());
  if (!tab) return;
  const title = subflowsOf(tab.doc)[name]?.name || name;
  const uses = usesOf(tab.doc, name);
  if (uses.length) {
    const lines = uses.map(({ inside, node }) => (inside ? `${node} in the subflow ${inside}` : node));
    const first = uses[0]!;
    const node = first.inside ? `subflow:${first.inside}/${first.node}` : first.node;
    return toast("error", `${title} is used ${uses.length === 1 ? "once" : `${uses.length} times`}`, lines, {
      flow: tab.id,
      node,
    });
  }
  editFlow((doc) => removeSubflow(doc, name));
  toast("done", `${title} is deleted; Undo brings it back`);
}

/** A junction in the middle of the wire that is selected. */
export function junctionInWire() {
  const flow = shownFlow(state());
  const wire = state().selected.wire;
  const made = flow && wire ? insertJunction(flow, wire, state().types) : null;
  if (!made) return toast("note", "Click a wire first");
  edit(() => made[0]);
  select([made[1]]);
}

/** Into the subflow of the instance that is selected. */
export function openSelected() {
  const node = nodesOf(shownFlow(state())!).find((one) => state().selected.nodes.has(one.id));
  if (node?.type.startsWith("subflow:")) openSubflow(node.type.slice("subflow:".length), node.id);
  else toast("note", "Select an instance of a subflow first");
}
