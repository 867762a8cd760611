/** What the editor holds: flows as they are drawn and as they run, what is selected, what is open. */

import { create } from "zustand";
import { api, Refused, type Scope } from "../api/http";
import type { FlowDoc, NodeDef, NodeType } from "../api/types";
import { dirty, emptyFlow, slug } from "../model/flow";
import { placed } from "../model/places";
import { templateOf, withTemplate } from "../model/subflows";

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

/** A template that is open on the canvas, and the instance whose nodes are seen live there. */
export interface Inside {
  subflow: string;
  instance: string | null;
}

export type Dialog =
  { kind: "group" | "port" | "subflow"; id: string } | { kind: "import"; text?: string } | { kind: "export" };

export type Panel = "info" | "debug" | "errors" | "log" | "try" | "data" | "history";
export type Theme = "auto" | "light" | "dark";

interface Editor {
  types: Record<string, NodeType>;
  /** Packages and files of node types that cannot be used, and why. */
  unusable: string[];
  tabs: Record<string, Tab>;
  order: string[];
  removed: Record<string, number>;
  active: string;
  /** From the flow down to the template that the canvas shows; empty: the flow itself. */
  inside: Inside[];
  selected: { nodes: Set<string>; wire: string | null; group: string | null };
  dialog: Dialog | null;
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

export const NONE = { nodes: new Set<string>(), wire: null, group: null };

export const useEditor = create<Editor>(() => ({
  types: {},
  unusable: [],
  tabs: {},
  order: [],
  removed: {},
  active: "",
  inside: [],
  selected: NONE,
  dialog: null,
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

export function putTab(tab: Tab) {
  set((state) => ({ tabs: { ...state.tabs, [tab.id]: tab } }));
}

// Loading

export async function load() {
  const listed = api.flows();
  const documents = listed.then((flows) => Promise.all(flows.map((flow) => api.flow(flow.flow))));
  const [types, flows, docs] = await Promise.all([api.types(), listed, documents]);
  const tabs: Record<string, Tab> = {};
  docs.forEach((found, k) => {
    if (found.document) tabs[found.flow] = fresh(found.document, found.revision, flows[k]!.wanted);
  });
  const order = arranged(Object.keys(tabs));
  const wish = decodeURIComponent(location.hash.slice(1)) || kept("active", "");
  set({ ...known(types), tabs, order, active: tabs[wish] ? wish : (order[0] ?? "") });
}

export const fresh = (doc: FlowDoc, base: number, wanted = "running"): Tab => ({
  id: doc.id,
  base,
  deployed: doc,
  doc,
  past: [],
  future: [],
  problems: {},
  wanted,
});

const known = (said: { types: NodeType[]; problems: string[] }) => ({
  types: Object.fromEntries(said.types.map((type) => [type.type, type])),
  unusable: said.problems,
});

/** Flows in the order in which this browser has them; new ones behind. */
function arranged(ids: string[]): string[] {
  const order = kept<string[]>("order", []);
  return [...order.filter((id) => ids.includes(id)), ...ids.filter((id) => !order.includes(id)).sort()];
}

export async function reloadTypes() {
  set(known(await api.types()));
}

// Editing

/** The open templates that are still there. */
export function openPath(state: Editor): Inside[] {
  const subflows = activeTab(state)?.doc.subflows ?? {};
  const gone = state.inside.findIndex((one) => !subflows[one.subflow]);
  return gone < 0 ? state.inside : state.inside.slice(0, gone);
}

const openTemplate = (state: Editor): string | undefined => openPath(state).at(-1)?.subflow;

/** What the canvas shows: the flow, or a template of it as a flow. */
export function shownFlow(state: Editor): FlowDoc | undefined {
  const doc = activeTab(state)?.doc;
  const name = openTemplate(state);
  return doc && name ? templateOf(doc, name) : doc;
}

/** Change what the canvas shows; what it was before can be brought back. */
export function edit(change: (doc: FlowDoc) => FlowDoc) {
  const name = openTemplate(get());
  if (!name) return editFlow(change);
  editFlow((doc) => {
    const view = templateOf(doc, name);
    const changed = change(view);
    return changed === view ? doc : withTemplate(doc, name, changed);
  });
}

/** Change the whole document, also while a template of it is open. */
export function editFlow(change: (doc: FlowDoc) => FlowDoc) {
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

export function select(nodes: Iterable<string>, wire: string | null = null, group: string | null = null) {
  set({ selected: { nodes: new Set(nodes), wire, group } });
}

export function show(flow: string) {
  keep("active", flow);
  history.replaceState(null, "", `#${flow}`);
  set({ active: flow, inside: [], selected: NONE, form: null, dialog: null });
}

/** Before the ids of the nodes on the canvas, as the runtime calls them; null: nothing of what is open runs. */
export function livePrefix(state: Editor): string | null {
  const path = openPath(state);
  return path.some((one) => one.instance === null) ? null : path.map((one) => `${one.instance}:`).join("");
}

export const openDialog = (dialog: Dialog | null) => set({ dialog });
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
  const stem = (doc?.id ?? slug(name)) || "flow";
  let id = stem;
  let title = name;
  for (let k = 2; taken[id]; k++) [id, title] = [`${stem}-${k}`, `${name} ${k}`];
  const made = doc ? { ...placed(doc), id, name: name || doc.name } : emptyFlow(id, title);
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

/** Put a tab to a place among the others, from 0. */
export function moveFlow(id: string, to: number) {
  const order = get().order.filter((one) => one !== id);
  order.splice(Math.max(0, to), 0, id);
  keep("order", order);
  set({ order });
}

export const isDirty = (tab: Tab) => dirty(tab.doc, tab.deployed).any;
export const anyDirty = (state: Editor) =>
  Object.keys(state.removed).length > 0 || Object.values(state.tabs).some((tab) => isDirty(tab));

// What is said

export function toast(kind: Toast["kind"], title: string, lines: string[] = [], node?: Toast["node"]) {
  const id = ++toastId;
  set((state) => ({ toasts: [...state.toasts.slice(-4), { id, kind, title, lines, node }] }));
  if (kind !== "error") setTimeout(() => dismiss(id), 8000);
}
export const dismiss = (id: number) => set((state) => ({ toasts: state.toasts.filter((one) => one.id !== id) }));

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
  shownFlow(state)?.nodes?.find((node) => node.id === id);
