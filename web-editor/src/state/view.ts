/** What the canvas shows: the way down into templates of subflows and back, and to a node wherever it is. */

import { subflowName, subflowsOf, templateOf, usesOf } from "../model/subflows";
import { activeTab, NONE, openPath, show, useEditor, type Inside } from "./editor";

const set = useEditor.setState;
const get = useEditor.getState;

/** Show a template: through an instance, or by its name, with the first instance there is. */
export function openSubflow(subflow: string, instance?: string) {
  const tab = activeTab(get());
  if (!tab || !subflowsOf(tab.doc)[subflow]) return;
  const path = openPath(get());
  const use = usesOf(tab.doc, subflow).find((one) => one.inside === null);
  const inside = instance ? [...path, { subflow, instance }] : [{ subflow, instance: use?.node ?? null }];
  set({ inside, selected: NONE, form: null });
}

/** Back to a level of the breadcrumb; 0: the flow. */
export const closeTo = (level: number) => set({ inside: openPath(get()).slice(0, level), selected: NONE, form: null });
export const lookAt = (instance: string | null) =>
  set((state) => ({
    inside: state.inside.map((one, k) => (k === state.inside.length - 1 ? { ...one, instance } : one)),
  }));

/** Bring a node into view, whichever flow it is in: `instance:node` opens the template, `subflow:<name>/<node>` too. */
export function reveal(flow: string, node: string) {
  const tab = get().tabs[flow];
  if (!tab) return;
  if (get().active !== flow) show(flow);
  const [subflow, inner] = subflowName(node)?.split("/") ?? [];
  const path: Inside[] = [];
  const ids = node.split(":");
  if (subflow) path.push({ subflow, instance: usesOf(tab.doc, subflow)[0]?.node ?? null });
  else
    for (const instance of ids.slice(0, -1)) {
      const scope = path.length ? templateOf(tab.doc, path.at(-1)!.subflow) : tab.doc;
      const name = subflowName(scope.nodes?.find((one) => one.id === instance)?.type ?? "");
      if (!name) break;
      path.push({ subflow: name, instance });
    }
  const id = subflow ? (inner ?? "") : ids[path.length]!;
  set({
    inside: path,
    selected: { nodes: new Set(id ? [id] : []), wire: null, group: null },
    reveal: { node: id, at: Date.now() },
  });
}
