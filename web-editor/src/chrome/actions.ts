/** Every action of the editor: its name, its key, what it does. Keys, menu and command palette read this list. */

import { align, connected, distribute, LINES, nudge } from "../model/arrange";
import { addNode, changeNode, GRID, moveNodes, nodesOf, removeAndJoin, removeNodes, removeWires } from "../model/flow";
import { isPort } from "../model/subflows";
import { deploy } from "../state/deploy";
import {
  addFlow,
  edit,
  moveFlow,
  openDialog,
  openForm,
  openPanel,
  redo,
  select,
  setTheme,
  show,
  shownFlow,
  undo,
  useEditor,
  type Theme,
} from "../state/editor";
import { closeTo } from "../state/view";
import { copy, pasteNow } from "./clipboard";
import {
  addSubflow,
  editGroup,
  groupSelection,
  junctionInWire,
  makeSubflowOfSelection,
  openSelected,
  ungroupSelection,
} from "./structure";
import { download } from "./transfer";

export interface Action {
  name: string;
  keys?: string;
  run: () => void;
}

const selected = () => useEditor.getState().selected.nodes;
const types = () => useEditor.getState().types;
const flow = () => shownFlow(useEditor.getState());

function remove() {
  const { nodes, wire } = useEditor.getState().selected;
  if (nodes.size) edit((doc) => removeNodes(doc, nodes));
  else if (wire) edit((doc) => removeWires(doc, new Set([wire])));
  select([]);
}

function join() {
  edit((doc) => [...selected()].reduce((next, id) => removeAndJoin(next, id, types()), doc));
  select([]);
}

async function layOut() {
  const before = flow();
  if (!before) return;
  const { layOut: place } = await import("./layout");
  const places = await place(before, types());
  edit((doc) => moveNodes(doc, places));
}

const moves = (
  [
    ["up", "ArrowUp", 0, -GRID],
    ["down", "ArrowDown", 0, GRID],
    ["left", "ArrowLeft", -GRID, 0],
    ["right", "ArrowRight", GRID, 0],
  ] as const
).flatMap(([name, key, x, y]): Action[] => [
  { name: `Move ${name}`, keys: key, run: () => edit((doc) => nudge(doc, selected(), x, y)) },
  {
    name: `Move ${name}, ten steps`,
    keys: `Shift+${key}`,
    run: () => edit((doc) => nudge(doc, selected(), 10 * x, 10 * y)),
  },
]);

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
  { name: "Select all", keys: "Ctrl+A", run: () => select(nodesOf(flow()!).map((node) => node.id)) },
  { name: "Select connected", keys: "Alt+A", run: () => select(connected(flow()!, selected())) },
  { name: "Select nothing", run: () => select([]) },
  { name: "Edit the node", keys: "Enter", run: editSelected },
  { name: "Try the selected nodes on a sample", keys: "Alt+T", run: () => openPanel("try") },
  ...moves,
  ...LINES.map((line) => ({ name: `Align ${line}`, run: () => edit((doc) => align(doc, selected(), line, types())) })),
  { name: "Distribute across", run: () => edit((doc) => distribute(doc, selected(), "across", types())) },
  { name: "Distribute down", run: () => edit((doc) => distribute(doc, selected(), "down", types())) },
  { name: "Lay the flow out", keys: "Alt+L", run: () => void layOut() },
  {
    name: "Enable or disable",
    keys: "Alt+D",
    run: () =>
      edit((doc) =>
        [...selected()].reduce(
          (next, id) => changeNode(next, id, (node) => ({ ...node, disabled: !node.disabled })),
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
  { name: "Group the selection", keys: "Ctrl+G", run: groupSelection },
  { name: "Ungroup", keys: "Ctrl+Shift+G", run: ungroupSelection },
  { name: "Edit the group", run: editGroup },
  { name: "Make a subflow of the selection", keys: "Alt+S", run: makeSubflowOfSelection },
  { name: "New subflow", run: addSubflow },
  { name: "Open the subflow", keys: "Alt+Enter", run: openSelected },
  { name: "Back to the flow", keys: "Alt+Backspace", run: () => closeTo(useEditor.getState().inside.length - 1) },
  { name: "Insert a junction into the wire", keys: "Alt+J", run: junctionInWire },
  { name: "Import JSON", keys: "Ctrl+I", run: () => openDialog({ kind: "import" }) },
  { name: "Export JSON", keys: "Ctrl+E", run: () => openDialog({ kind: "export" }) },
  { name: "Export the selection", run: () => download("selection") },
  { name: "Export the flow", run: () => download("flow") },
  { name: "Export all flows", run: () => download("all") },
  { name: "New flow", run: () => addFlow("New flow") },
  { name: "Move the flow left", run: () => moveTab(-1) },
  { name: "Move the flow right", run: () => moveTab(1) },
  { name: "Next flow", keys: "Ctrl+]", run: () => step(1) },
  { name: "Previous flow", keys: "Ctrl+[", run: () => step(-1) },
  { name: "Theme: automatic, light, dark", run: themeNext },
];

function step(by: number) {
  const { order, active } = useEditor.getState();
  const next = order[(order.indexOf(active) + by + order.length) % order.length];
  if (next) show(next);
}

function moveTab(by: number) {
  const { order, active } = useEditor.getState();
  moveFlow(active, order.indexOf(active) + by);
}

function editSelected() {
  const { nodes, group } = useEditor.getState().selected;
  const [id] = nodes;
  if (group) openDialog({ kind: "group", id: group });
  else if (id && nodes.size === 1) isPort(id) ? openDialog({ kind: "port", id }) : openForm(id);
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
