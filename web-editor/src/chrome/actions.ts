/** Every action of the editor: its name, its key, what it does. Keys, menu and command palette read this list. */

import {
  addNode,
  changeNode,
  clip,
  ends,
  GRID,
  moveNodes,
  nodesOf,
  paste,
  placeOf,
  removeAndJoin,
  removeNodes,
  removeWires,
  wiresOf,
  type Clip,
} from "../model/flow";
import {
  activeTab,
  addFlow,
  deploy,
  edit,
  openForm,
  redo,
  select,
  setTheme,
  show,
  toast,
  undo,
  useEditor,
  type Theme,
} from "../state/editor";

export interface Action {
  name: string;
  keys?: string;
  run: () => void;
}

const MIME = "flowcore-nodes";
const selected = () => useEditor.getState().selected.nodes;
const tab = () => activeTab(useEditor.getState());
let pasted = 0;

async function copy() {
  const flow = tab()?.doc;
  if (!flow || !selected().size) return;
  const text = JSON.stringify({ [MIME]: clip(flow, selected()) });
  localStorage.setItem("flowcore.clipboard", text); // for other tabs, where the clipboard itself is not allowed
  pasted = 0;
  await navigator.clipboard?.writeText(text).catch(() => undefined);
}

async function pasteNow() {
  const flow = tab()?.doc;
  const text =
    (await navigator.clipboard?.readText().catch(() => "")) || localStorage.getItem("flowcore.clipboard") || "";
  let clipped: Clip | undefined;
  try {
    const said = JSON.parse(text);
    clipped = said[MIME] ?? (Array.isArray(said.nodes) ? said : undefined);
  } catch {
    clipped = undefined;
  }
  if (!flow || !clipped?.nodes.length) return;
  pasted += 1;
  const corner = clipped.nodes.map(placeOf).reduce((a, b) => ({ x: Math.min(a.x, b.x), y: Math.min(a.y, b.y) }));
  const [next, ids] = paste(flow, clipped, { x: corner.x + pasted * GRID * 2, y: corner.y + pasted * GRID * 2 });
  edit(() => next);
  select(ids);
}

function remove() {
  const { nodes, wire } = useEditor.getState().selected;
  if (nodes.size) edit((doc) => removeNodes(doc, nodes));
  else if (wire) edit((doc) => removeWires(doc, new Set([wire])));
  select([]);
}

function join() {
  const types = useEditor.getState().types;
  edit((doc) => [...selected()].reduce((flow, id) => removeAndJoin(flow, id, types), doc));
  select([]);
}

function nudge(x: number, y: number) {
  edit((doc) =>
    moveNodes(
      doc,
      new Map(
        nodesOf(doc)
          .filter((node) => selected().has(node.id))
          .map((node) => [node.id, { x: placeOf(node).x + x, y: placeOf(node).y + y }]),
      ),
    ),
  );
}

function align(how: "left" | "top" | "across" | "down") {
  const chosen = nodesOf(tab()!.doc).filter((node) => selected().has(node.id));
  if (chosen.length < 2) return;
  const axis = how === "left" || how === "across" ? "x" : "y";
  const sorted = [...chosen].sort((a, b) => placeOf(a)[axis] - placeOf(b)[axis]);
  const [first, last] = [placeOf(sorted[0]!)[axis], placeOf(sorted.at(-1)!)[axis]];
  const at = (k: number) =>
    how === "left" || how === "top" ? first : first + ((last - first) * k) / (sorted.length - 1);
  edit((doc) => moveNodes(doc, new Map(sorted.map((node, k) => [node.id, { ...placeOf(node), [axis]: at(k) }]))));
}

function selectConnected() {
  const flow = tab()?.doc;
  if (!flow) return;
  const reached = new Set(selected());
  for (let before = -1; before !== reached.size;) {
    before = reached.size;
    for (const wire of wiresOf(flow)) {
      const [a, b] = [ends(wire.from)[0], ends(wire.to)[0]];
      if (reached.has(a) || reached.has(b)) reached.add(a).add(b);
    }
  }
  select(reached);
}

async function layOut() {
  const flow = tab()?.doc;
  if (!flow) return;
  const { layOut: place } = await import("./layout");
  const places = await place(flow, useEditor.getState().types);
  edit((doc) => moveNodes(doc, places));
}

function download(name: string, value: unknown) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(value, null, 2) + "\n"], { type: "application/json" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** Take JSON in: a flow file becomes a flow of its own, nodes go into the flow that is open. */
export function takeIn(text: string) {
  let said: any;
  try {
    said = JSON.parse(text);
  } catch (error) {
    toast("error", "This is not JSON", [(error as Error).message]);
    return;
  }
  const types = useEditor.getState().types;
  const documents = said.flowcore === 1 ? [said] : Array.isArray(said.flows) ? said.flows : [];
  const nodes = said[MIME]?.nodes ?? documents.flatMap((doc: any) => doc.nodes ?? []);
  const missing = [
    ...new Set(
      nodes
        .map((node: any) => String(node.type))
        .filter((type: string) => !type.startsWith("subflow:") && !types[type]),
    ),
  ] as string[];
  if (documents.length) for (const doc of documents) addFlow(doc.name ?? "", doc);
  else if (said[MIME]) {
    const flow = tab()?.doc;
    if (flow) edit(() => paste(flow, said[MIME], { x: 80, y: 80 })[0]);
  } else {
    toast("error", "This is no flow", ['A flow file has "flowcore": 1; nodes are what Copy gives.']);
    return;
  }
  if (missing.length) toast("note", "Node types that are not installed", missing);
}

function themeNext() {
  const order: Theme[] = ["auto", "light", "dark"];
  setTheme(order[(order.indexOf(useEditor.getState().theme) + 1) % 3]!);
}

export const actions: Action[] = [
  { name: "Deploy changed flows", keys: "Ctrl+D", run: () => void deploy("flow") },
  { name: "Deploy changed nodes", run: () => void deploy("nodes") },
  { name: "Deploy everything", run: () => void deploy("full") },
  { name: "Undo", keys: "Ctrl+Z", run: undo },
  { name: "Redo", keys: "Ctrl+Shift+Z", run: redo },
  { name: "Redo (second key)", keys: "Ctrl+Y", run: redo },
  { name: "Copy", keys: "Ctrl+C", run: () => void copy() },
  { name: "Cut", keys: "Ctrl+X", run: () => void copy().then(remove) },
  { name: "Paste", keys: "Ctrl+V", run: () => void pasteNow() },
  { name: "Delete", keys: "Delete", run: remove },
  { name: "Delete (second key)", keys: "Backspace", run: remove },
  { name: "Delete and join neighbours", keys: "Ctrl+Delete", run: join },
  { name: "Select all", keys: "Ctrl+A", run: () => select(nodesOf(tab()!.doc).map((node) => node.id)) },
  { name: "Select connected", keys: "Alt+A", run: selectConnected },
  { name: "Edit the node", keys: "Enter", run: () => selected().size === 1 && openForm([...selected()][0]!) },
  { name: "Move up", keys: "ArrowUp", run: () => nudge(0, -GRID) },
  { name: "Move down", keys: "ArrowDown", run: () => nudge(0, GRID) },
  { name: "Move left", keys: "ArrowLeft", run: () => nudge(-GRID, 0) },
  { name: "Move right", keys: "ArrowRight", run: () => nudge(GRID, 0) },
  { name: "Align left", run: () => align("left") },
  { name: "Align top", run: () => align("top") },
  { name: "Distribute across", run: () => align("across") },
  { name: "Distribute down", run: () => align("down") },
  { name: "Lay the flow out", keys: "Alt+L", run: () => void layOut() },
  {
    name: "Enable or disable",
    keys: "Alt+D",
    run: () =>
      edit((doc) =>
        [...selected()].reduce(
          (flow, id) => changeNode(flow, id, (node) => ({ ...node, disabled: !node.disabled })),
          doc,
        ),
      ),
  },
  {
    name: "Add a comment",
    run: () =>
      edit((doc) =>
        addNode(doc, {
          id: `comment-${nodesOf(doc).length + 1}`,
          type: "core/comment",
          name: "Comment",
          ui: { x: 80, y: 40 },
        }),
      ),
  },
  { name: "Export the flow", run: () => download(`${tab()!.id}.json`, tab()!.doc) },
  {
    name: "Export all flows",
    run: () => download("flows.json", { flows: Object.values(useEditor.getState().tabs).map((one) => one.doc) }),
  },
  { name: "New flow", run: () => addFlow("New flow") },
  { name: "Next flow", keys: "Ctrl+]", run: () => step(1) },
  { name: "Previous flow", keys: "Ctrl+[", run: () => step(-1) },
  { name: "Theme: automatic, light, dark", run: themeNext },
];

function step(by: number) {
  const { order, active } = useEditor.getState();
  const next = order[(order.indexOf(active) + by + order.length) % order.length];
  if (next) show(next);
}

export const keysOf = (event: KeyboardEvent): string =>
  [
    event.ctrlKey || event.metaKey ? "Ctrl" : "",
    event.altKey ? "Alt" : "",
    event.shiftKey && event.key !== "?" ? "Shift" : "",
    event.key.length === 1 ? event.key.toUpperCase() : event.key,
  ]
    .filter(Boolean)
    .join("+");
