/** Copy, cut and paste: through the system's clipboard, so also into another window or a file, and beside it for browsers that deny it. */

import { CLIP, clip, paste, read, type Clip } from "../model/clip";
import { GRID, NODE_HEIGHT, placeOf, snap } from "../model/flow";
import { edit, openDialog, openPath, select, shownFlow, toast, useEditor } from "../state/editor";
import { notInside } from "../canvas/pick";
import { takePointed } from "../canvas/pointer";

const KEPT = "flowcore.clipboard";
let pasted = 0;

export async function copy() {
  const state = useEditor.getState();
  const flow = shownFlow(state);
  if (!flow || !state.selected.nodes.size) return;
  const clipped = clip(flow, state.selected.nodes);
  if (!clipped.nodes.length) return;
  const text = JSON.stringify({ [CLIP]: clipped });
  localStorage.setItem(KEPT, text);
  pasted = 0;
  await navigator.clipboard?.writeText(text).catch(() => undefined);
}

export async function pasteNow() {
  const text = (await navigator.clipboard?.readText().catch(() => "")) || localStorage.getItem(KEPT) || "";
  if (!text.trim().startsWith("{") && !text.trim().startsWith("[")) return;
  let found;
  try {
    found = read(text, useEditor.getState().types);
  } catch {
    return;
  }
  if (!found.clip || found.missing.length) return openDialog({ kind: "import", text });
  pasteClip(found.clip, ++pasted);
}

/** Put nodes into what is shown: where the mouse points to nothing, else below where they came from. */
export function pasteClip(clipped: Clip, times = 1) {
  const state = useEditor.getState();
  const flow = shownFlow(state);
  if (!flow) return;
  const template = openPath(state).at(-1)?.subflow ?? null;
  const why = clipped.nodes.map((node) => notInside(flow, node.type, template)).find(Boolean);
  if (why) return toast("error", "This subflow cannot stand here", [why]);
  const corner = clipped.nodes.map(placeOf).reduce((a, b) => ({ x: Math.min(a.x, b.x), y: Math.min(a.y, b.y) }));
  const height = Math.max(...clipped.nodes.map((node) => placeOf(node).y)) - corner.y + NODE_HEIGHT + GRID;
  const pointed = takePointed();
  const at = pointed
    ? { x: snap(pointed.x), y: snap(pointed.y) }
    : { x: corner.x + times * GRID, y: corner.y + times * height };
  const [next, ids] = paste(flow, clipped, at);
  edit(() => next);
  select(ids);
}
