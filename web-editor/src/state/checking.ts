/** Checks what is drawn against the runtime a moment after it was changed, and marks nodes that are not right. */

import { api } from "../api/http";
import type { FlowDoc } from "../api/types";
import { problemsByNode } from "../model/flow";
import { activeTab, putTab, useEditor } from "./editor";

const AFTER_MS = 700;
let timer: ReturnType<typeof setTimeout> | undefined;
let checked: FlowDoc | null = null;

async function check() {
  const tab = activeTab(useEditor.getState());
  if (!tab || tab.doc === checked) return;
  const doc = (checked = tab.doc);
  const found = await api.validate(doc).catch(() => null);
  const now = useEditor.getState().tabs[tab.id];
  if (!found || !now || now.doc !== doc) return;
  const problems = found.valid ? {} : problemsByNode(found.problems, doc);
  if (JSON.stringify(problems) !== JSON.stringify(now.problems)) putTab({ ...now, problems });
}

export function checkAsDrawn() {
  useEditor.subscribe((state, before) => {
    const [doc, was] = [activeTab(state)?.doc, activeTab(before)?.doc];
    if (!doc || doc === was) return;
    clearTimeout(timer);
    timer = setTimeout(() => void check(), AFTER_MS);
  });
}
