/** Deploying: what has changed goes to the runtime, which says what it did; what others deployed comes in. */

import { api, Refused, type Scope } from "../api/http";
import type { Deployed } from "../api/types";
import { dirty, problemsByNode } from "../model/flow";
import { merge } from "../model/merge";
import { fresh, isDirty, putTab, toast, useEditor, type Tab } from "./editor";

const set = useEditor.setState;
const get = useEditor.getState;

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
  set({ deploying: true }); // so that its news is not taken for somebody else's
  try {
    await deployTab(next, "flow");
  } finally {
    set({ deploying: false });
  }
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
