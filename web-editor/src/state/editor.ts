/** What the editor holds: flows as they are drawn and as they run, what is selected, what is open. */

import { create } from "zustand";
import { api, Refused, type Scope } from "../api/http";
import type { Deployed, FlowDoc, NodeDef, NodeType } from "../api/types";
import { dirty, emptyFlow, problemsByNode } from "../model/flow";
import { merge } from "../model/merge";

export interface Tab {
  id: string;
  /** The revision that the drawing is based on; 0: it was never deployed. */
  base: number;
  deployed: FlowDoc | null;
  doc: FlowDoc;
  past: FlowDoc[];
  future: FlowDoc[];
  /** Problems that the last deploy or check found, by node. */
  problems: Record<string, string[]>;
  wanted: string;
}

export interface Toast {
  id: number;
  kind: "done" | "error" | "note";
  title: string;
  lines: string[];
  node?: { flow: string; node: string };
}

export interface Stale {
  flow: string;
  theirs: FlowDoc;
  revision: number;
  scope: Scope;
}

export type Panel = "info" | "debug" | "errors" | "log" | "history";
export type Theme = "auto" | "light" | "dark";

interface Editor {
  types: Record<string, NodeType>;
  tabs: Record<string, Tab>;
  order: string[];
  removed: Record<string, number>;
  active: string;
  selected: { nodes: Set<string>; wire: string | null };
  form: string | null;
  panel: Panel;
  theme: Theme;
  toasts: Toast[];
  stale: Stale | null;
  deploying: boolean;
  reveal: { node: string; at: number } | null;
}

const MOST_UNDO = 200;
let toastId = 0;

const kept = <T>(key: string, otherwise: T): T => {
  try {
    return JSON.parse(localStorage.getItem(`flowcore.${key}`) ?? "") as T;
  } catch {
    return otherwise;
  }
};
export const keep = (key: string, value: unknown) => localStorage.setItem(`flowcore.${key}`, JSON.stringify(value));

export const useEditor = create<Editor>(() => ({
  types: {},
  tabs: {},
  order: [],
  removed: {},
  active: "",
  selected: { nodes: new Set(), wire: null },
  form: null,
  panel: kept<Panel>("panel", "info"),
  theme: kept<Theme>("theme", "auto"),
  toasts: [],
  stale: null,
  deploying: false,
  reveal: null,
}));

const set = useEditor.setState;
const get = useEditor.getState;

export const activeTab = (state: Editor): Tab | undefined => state.tabs[state.active];

function putTab(tab: Tab) {
  set((state) => ({ tabs: { ...state.tabs, [tab.id]: tab } }));
}

// Loading

export async function load() {
  const [types, flows] = await Promise.all([api.types(), api.flows()]);
  const docs = await Promise.all(flows.map((flow) => api.flow(flow.flow)));
  const tabs: Record<string, Tab> = {};
  docs.forEach((found, k) => {
    if (found.document) tabs[found.flow] = fresh(found.document, found.revision, flows[k]!.wanted);
  });
  const order = arranged(Object.keys(tabs));
  const wish = decodeURIComponent(location.hash.slice(1)) || kept("active", "");
  set({ types: byType(types), tabs, order, active: tabs[wish] ? wish : (order[0] ?? "") });
}

const fresh = (doc: FlowDoc, base: number, wanted = "running"): Tab => ({
  id: doc.id,
  base,
  deployed: doc,
  doc,
  past: [],
  future: [],
  problems: {},
  wanted,
});

const byType = (types: NodeType[]) => Object.fromEntries(types.map((type) => [type.type, type]));

/** Flows in the order in which this browser has them; new ones behind. */
function arranged(ids: string[]): string[] {
  const order = kept<string[]>("order", []);
  return [...order.filter((id) => ids.includes(id)), ...ids.filter((id) => !order.includes(id)).sort()];
}

export async function reloadTypes() {
  set({ types: byType(await api.types()) });
}

// Editing

/** Change the flow that is shown; what it was before can be brought back. */
export function edit(change: (doc: FlowDoc) => FlowDoc) {
  const tab = activeTab(get());
  if (!tab) return;
  const doc = change(tab.doc);
  if (doc !== tab.doc) putTab({ ...tab, doc, past: [...tab.past, tab.doc].slice(-MOST_UNDO), future: [] });
}

export function undo() {
  const tab = activeTab(get());
  const doc = tab?.past.at(-1);
  if (tab && doc) putTab({ ...tab, doc, past: tab.past.slice(0, -1), future: [tab.doc, ...tab.future] });
}

export function redo() {
  const tab = activeTab(get());
  const doc = tab?.future[0];
  if (tab && doc) putTab({ ...tab, doc, past: [...tab.past, tab.doc], future: tab.future.slice(1) });
}

export function select(nodes: Iterable<string>, wire: string | null = null) {
  set({ selected: { nodes: new Set(nodes), wire } });
}

export function show(flow: string) {
  keep("active", flow);
  history.replaceState(null, "", `#${flow}`);
  set({ active: flow, selected: { nodes: new Set(), wire: null }, form: null });
}

/** Bring a node into view, whichever flow it is in. */
export function reveal(flow: string, node: string) {
  if (!get().tabs[flow]) return;
  if (get().active !== flow) show(flow);
  const id = node.split(":")[0]!;
  set({ selected: { nodes: new Set([id]), wire: null }, reveal: { node: id, at: Date.now() } });
}

export const openForm = (node: string | null) => set({ form: node });
export function openPanel(panel: Panel) {
  keep("panel", panel);
  set({ panel });
}
export function setTheme(theme: Theme) {
  keep("theme", theme);
  set({ theme });
}

// Flows

export function addFlow(name: string, doc?: FlowDoc) {
  const taken = get().tabs;
  const stem =
    (doc?.id ??
      name
        .toLowerCase()
        .replace(/[^a-z0-9]+/g, "-")
        .replace(/^-+|-+$/g, "")
        .slice(0, 50)) ||
    "flow";
  let id = stem;
  for (let k = 2; taken[id]; k++) id = `${stem}-${k}`;
  const made = doc ? { ...doc, id, name: name || doc.name } : emptyFlow(id, name);
  putTab({ ...fresh(made, 0), deployed: null });
  set((state) => ({ order: [...state.order, id] }));
  keep("order", get().order);
  show(id);
}

export function removeFlow(id: string) {
  const { [id]: gone, ...tabs } = get().tabs;
  if (!gone) return;
  const order = get().order.filter((one) => one !== id);
  set((state) => ({ tabs, order, removed: gone.base ? { ...state.removed, [id]: gone.base } : state.removed }));
  if (get().active === id) show(order[0] ?? "");
}

export function moveFlow(id: string, before: string) {
  const order = get().order.filter((one) => one !== id);
  order.splice(order.indexOf(before), 0, id);
  keep("order", order);
  set({ order });
}

// Deploying

export const isDirty = (tab: Tab) => dirty(tab.doc, tab.deployed).any;
export const anyDirty = (state: Editor) =>
  Object.keys(state.removed).length > 0 || Object.values(state.tabs).some((tab) => isDirty(tab));

export function toast(kind: Toast["kind"], title: string, lines: string[] = [], node?: Toast["node"]) {
  const id = ++toastId;
  set((state) => ({ toasts: [...state.toasts.slice(-4), { id, kind, title, lines, node }] }));
  if (kind !== "error") setTimeout(() => dismiss(id), 8000);
}
export const dismiss = (id: number) => set((state) => ({ toasts: state.toasts.filter((one) => one.id !== id) }));

export async function deploy(scope: Scope) {
  const { tabs, removed, deploying } = get();
  if (deploying) return;
  set({ deploying: true });
  try {
    const changed = Object.values(tabs).filter((tab) => scope === "full" || isDirty(tab));
    if (scope !== "nodes") {
      for (const flow of Object.keys(removed)) {
        await api.remove(flow);
        toast("done", `${flow}: removed`);
        set((state) => ({ removed: Object.fromEntries(Object.entries(state.removed).filter(([id]) => id !== flow)) }));
      }
    }
    if (!changed.length && !Object.keys(removed).length) toast("note", "Nothing has changed");
    for (const tab of changed) await deployTab(tab, scope === "full" ? "flow" : scope);
  } finally {
    set({ deploying: false });
  }
}

async function deployTab(tab: Tab, scope: Scope, base = tab.base) {
  const nodes = scope === "nodes" && tab.base ? [...dirty(tab.doc, tab.deployed).nodes] : [];
  try {
    const [done] = await api.deploy([tab.doc], nodes.length ? "nodes" : "flow", base ? { [tab.id]: base } : {}, nodes);
    const now = await api.flow(tab.id);
    const current = get().tabs[tab.id] ?? tab;
    const doc = nodes.length ? current.doc : current.doc === tab.doc ? now.document! : current.doc;
    putTab({ ...current, base: now.revision, deployed: now.document, doc, problems: {} });
    tell(done!);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.code === "stale") {
      const theirs = await api.flow(tab.id);
      if (theirs.document) set({ stale: { flow: tab.id, theirs: theirs.document, revision: theirs.revision, scope } });
      return;
    }
    refused(tab, error);
  }
}

function refused(tab: Tab, error: Refused) {
  const found = (error.details.problems ?? []) as string[];
  const problems = problemsByNode(found, tab.doc);
  putTab({ ...(get().tabs[tab.id] ?? tab), problems });
  const first = Object.keys(problems)[0];
  const lines = found.length ? found.map((line) => line.replace(/^<document>:\d+ /, "")) : [error.advice];
  toast("error", error.message, lines, first ? { flow: tab.id, node: first } : undefined);
}

function tell(done: Deployed) {
  const kinds = ["started", "restarted", "reconfigured", "rewired", "stopped", "moved"] as const;
  const parts = kinds.filter((kind) => done[kind].length).map((kind) => `${kind} ${done[kind].join(", ")}`);
  const wires =
    done.wires_added + done.wires_closed ? [`wires: ${done.wires_added} added, ${done.wires_closed} closed`] : [];
  const failed = Object.entries(done.failed).map(([node, why]) => `${node} did not come up: ${why}`);
  const took = `${Math.round(done.took_s * 1000)} ms`;
  toast(
    failed.length ? "error" : "done",
    `${done.flow}: revision ${done.revision}, ${done.kept.length} kept, ${took}`,
    [...parts, ...wires, ...failed, ...done.notes],
  );
}

/** How a stale deploy goes on: with both changes, with mine alone, or with theirs alone. */
export async function settle(how: "merge" | "overwrite" | "theirs" | "cancel") {
  const { stale, tabs } = get();
  set({ stale: null });
  const tab = stale && tabs[stale.flow];
  if (!stale || !tab || how === "cancel") return;
  if (how === "theirs") {
    putTab({ ...tab, base: stale.revision, deployed: stale.theirs, doc: stale.theirs, past: [...tab.past, tab.doc] });
    return;
  }
  const doc = how === "merge" ? merge(tab.deployed ?? stale.theirs, tab.doc, stale.theirs).flow : tab.doc;
  const next = { ...tab, base: stale.revision, deployed: stale.theirs, doc, past: [...tab.past, tab.doc] };
  putTab(next);
  await deployTab(next, "flow");
}

/** Somebody, maybe we ourselves, deployed a flow. */
export async function deployedElsewhere(flow: string, revision: number) {
  const tab = get().tabs[flow];
  if (get().deploying || (tab && tab.base >= revision)) return;
  const found = await api.flow(flow).catch(() => null);
  if (!found?.document) return;
  if (!tab) {
    if (get().removed[flow]) return;
    putTab(fresh(found.document, found.revision));
    set((state) => ({ order: [...state.order, flow], active: state.active || flow }));
  } else if (!isDirty(tab)) {
    putTab({ ...fresh(found.document, found.revision), past: tab.past, wanted: tab.wanted });
  } else {
    toast("note", `${flow} was deployed elsewhere (revision ${revision})`, [
      "Your changes are kept; the next deploy shows the difference.",
    ]);
  }
}

/** Ask the runtime to do something, and show what it says no with. */
export async function attempt(work: Promise<unknown>, done?: string) {
  try {
    await work;
    if (done) toast("done", done);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    toast("error", error.message, [error.advice].filter(Boolean));
  }
}

export const nodeOf = (state: Editor, id: string): NodeDef | undefined =>
  activeTab(state)?.doc.nodes?.find((node) => node.id === id);
