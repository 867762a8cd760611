/** Flows and nodes as JSON, out of the editor and into it. */

import { CLIP, clip, read, type Clip, type Read } from "../model/clip";
import type { FlowDoc } from "../api/types";
import { activeTab, addFlow, shownFlow, toast, useEditor } from "../state/editor";
import { pasteClip } from "./clipboard";

export type What = "selection" | "flow" | "all";

/** What is exported, and the name of its file; null when there is nothing. */
export function exported(what: What): { name: string; text: string } | null {
  const state = useEditor.getState();
  const [tab, flow] = [activeTab(state), shownFlow(state)];
  if (!tab || !flow) return null;
  const pretty = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  if (what === "flow") return { name: `${tab.id}.json`, text: pretty(tab.doc) };
  if (what === "all") {
    const flows = state.order.flatMap((id) => state.tabs[id]?.doc ?? []);
    return { name: "flows.json", text: pretty({ flows }) };
  }
  const clipped = clip(flow, state.selected.nodes);
  return clipped.nodes.length ? { name: `${tab.id}-nodes.json`, text: pretty({ [CLIP]: clipped }) } : null;
}

export function download(what: What) {
  const file = exported(what);
  if (!file) return toast("note", "Select the nodes that are to be exported first");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([file.text], { type: "application/json" }));
  link.download = file.name;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** Flows become flows of their own, under ids that are free; links between them follow. Returns the new ids. */
export function addFlows(flows: FlowDoc[]): string[] {
  const before = new Set(useEditor.getState().order);
  const made: string[] = [];
  const names = new Map<string, string>();
  for (const doc of flows) {
    let id = doc.id;
    for (let k = 2; before.has(id) || made.includes(id); k++) id = `${doc.id}-${k}`;
    names.set(doc.id, id);
    made.push(id);
  }
  flows.forEach((doc, k) => addFlow(doc.name ?? "", { ...relinked(doc, names), id: made[k]! }));
  return made;
}

function relinked(doc: FlowDoc, names: Map<string, string>): FlowDoc {
  const moved = [...names].filter(([from, to]) => from !== to);
  if (!moved.length) return doc;
  const link = (text: string) => {
    const [flow, node] = text.split("/");
    return node !== undefined && names.has(flow!) ? `${names.get(flow!)}/${node}` : text;
  };
  const nodes = doc.nodes?.map((node) => {
    const links = node.config?.links;
    return Array.isArray(links)
      ? { ...node, config: { ...node.config, links: links.map((one) => link(String(one))) } }
      : node;
  });
  return nodes ? { ...doc, nodes } : doc;
}

/** Take in what was read: flows as new tabs, or everything into what is open. */
export function takeRead(found: Read, into: "new" | "open") {
  if (found.clip) return pasteClip(found.clip);
  if (into === "new") {
    const made = addFlows(found.flows);
    return toast("done", `Imported ${made.join(", ")}; Deploy runs ${made.length === 1 ? "it" : "them"}`);
  }
  for (const { nodes, wires, groups, subflows, resources } of found.flows) {
    const clipped: Clip = { nodes: nodes ?? [], wires: wires ?? [], groups, subflows, resources };
    if (clipped.nodes.length) pasteClip(clipped);
  }
}

/** Take JSON in without asking. */
export function takeIn(text: string) {
  try {
    const found = read(text, useEditor.getState().types);
    takeRead(found, "new");
    if (found.missing.length)
      toast(
        "note",
        "Node types that are not installed",
        found.missing.map(([type]) => type),
      );
  } catch (error) {
    toast("error", "Nothing was imported", [(error as Error).message]);
  }
}
