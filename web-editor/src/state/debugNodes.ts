/** Debug nodes on and off, at once: a deploy of this one field, on top of what runs and not of what is drawn. */

import { api } from "../api/http";
import type { FlowDoc, NodeDef } from "../api/types";
import { changeNode, dirty, nodesOf } from "../model/flow";
import { attempt, useEditor } from "./editor";

export const DEBUG = "core/debug";
export const isShowing = (node: NodeDef) => node.config?.active !== false;

const switched = (doc: FlowDoc, id: string, on: boolean) =>
  changeNode(doc, id, (node) => {
    const { active: _, ...others } = node.config ?? {};
    const { config: __, ...bare } = node;
    const config = on ? others : { ...others, active: false };
    return Object.keys(config).length ? { ...node, config } : bare;
  });

export async function switchDebug(flow: string, ids: string[], on: boolean) {
  const tab = useEditor.getState().tabs[flow];
  if (!tab || useEditor.getState().deploying) return;
  const there = new Set(nodesOf(tab.deployed ?? { flowcore: 1, id: flow }).map((node) => node.id));
  const deployed = ids.filter((id) => there.has(id));
  const all = (doc: FlowDoc, some: string[]) => some.reduce((next, id) => switched(next, id, on), doc);
  useEditor.setState({ deploying: true });
  try {
    if (deployed.length && tab.deployed)
      await attempt(
        api.deploy([all(tab.deployed, deployed)], "nodes", { [flow]: tab.base }, deployed).then(() => refresh(flow)),
      );
  } finally {
    useEditor.setState({ deploying: false });
  }
  const now = useEditor.getState().tabs[flow];
  if (now && dirty(all(now.doc, ids), now.doc).any)
    useEditor.setState((state) => ({ tabs: { ...state.tabs, [flow]: { ...now, doc: all(now.doc, ids) } } }));
}

/** What runs, and what is drawn where nothing else was changed. */
async function refresh(flow: string) {
  const found = await api.flow(flow);
  useEditor.setState((state) => {
    const tab = state.tabs[flow];
    if (!tab || !found.document) return {};
    const doc = tab.doc === tab.deployed ? found.document : tab.doc;
    return { tabs: { ...state.tabs, [flow]: { ...tab, base: found.revision, deployed: found.document, doc } } };
  });
}
