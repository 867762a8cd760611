/** The editor: palette, canvas, sidebar, and what lies over them. */

import { ReactFlowProvider } from "@xyflow/react";
import { lazy, Suspense, useEffect, useState } from "react";
import { Canvas } from "./canvas/Canvas";
import { actions, keysOf } from "./chrome/actions";
import { Header } from "./chrome/Header";
import { Finder, Keys, Stale, Toasts } from "./chrome/Overlays";
import { Palette } from "./panels/Palette";
import { Sidebar } from "./panels/Sidebar";
import { activeTab, anyDirty, shownFlow, useEditor } from "./state/editor";
import { live } from "./state/live";

const Dialogs = lazy(() => import("./dialogs"));
const NodeForm = lazy(() => import("./forms/NodeForm"));
const isTyping = (target: EventTarget | null) =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

export function App() {
  const tab = useEditor(activeTab);
  const form = useEditor((state) => state.form);
  const theme = useEditor((state) => state.theme);
  const order = useEditor((state) => state.order);
  const selected = useEditor((state) => state.selected.nodes);
  const [over, setOver] = useState<"commands" | "search" | "keys" | null>(null);
  const flow = useEditor(shownFlow);
  const dialog = useEditor((state) => !!state.dialog);
  const node = flow?.nodes?.find((one) => one.id === form);

  useEffect(() => {
    document.documentElement.dataset.theme = theme;
  }, [theme]);
  useEffect(() => live.watch(order), [order]);
  useEffect(() => {
    live.introduce({ flow: tab?.id ?? "", node: selected.size === 1 ? [...selected][0]! : "" });
  }, [tab?.id, selected]);
  useEffect(() => {
    const leave = (event: BeforeUnloadEvent) => {
      if (anyDirty(useEditor.getState())) event.preventDefault();
    };
    const press = (event: KeyboardEvent) => {
      const keys = keysOf(event);
      if (keys === "Ctrl+Shift+P") setOver("commands");
      else if (keys === "Ctrl+F") setOver("search");
      else if (keys === "Escape") setOver(null);
      else if (isTyping(event.target)) return;
      else if (keys === "?") setOver("keys");
      else {
        const action = actions.find((one) => one.keys === keys);
        if (!action || (keys === "Enter" && event.target instanceof HTMLButtonElement)) return;
        action.run();
      }
      event.preventDefault();
    };
    addEventListener("beforeunload", leave);
    addEventListener("keydown", press);
    return () => {
      removeEventListener("beforeunload", leave);
      removeEventListener("keydown", press);
    };
  }, []);

  return (
    <div className="app">
      <Header onPalette={setOver} />
      <Palette />
      <ReactFlowProvider>
        <main>
          <Canvas />
        </main>
      </ReactFlowProvider>
      <Sidebar />
      {flow && node && (
        <Suspense fallback={null}>
          <NodeForm key={node.id} flow={flow} node={node} />
        </Suspense>
      )}
      {dialog && (
        <Suspense fallback={null}>
          <Dialogs />
        </Suspense>
      )}
      {(over === "commands" || over === "search") && <Finder kind={over} onClose={() => setOver(null)} />}
      {over === "keys" && <Keys onClose={() => setOver(null)} />}
      <Stale />
      <Toasts />
    </div>
  );
}
