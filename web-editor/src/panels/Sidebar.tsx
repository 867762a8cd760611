/** The sidebar: what is selected, debug messages, errors, logs, revisions. */

import { lazy, Suspense } from "react";
import { openPanel, useEditor, type Panel } from "../state/editor";
import { useLive } from "../state/live";
import { Info } from "./Info";
import { Log } from "./Log";
import { Debug, Errors } from "./Messages";

const History = lazy(() => import("./History"));

const PANELS: [Panel, string][] = [
  ["info", "Info"],
  ["debug", "Debug"],
  ["errors", "Errors"],
  ["log", "Log"],
  ["history", "History"],
];

export function Sidebar() {
  const panel = useEditor((state) => state.panel);
  const unseen = useLive((now) => now.unseenErrors);
  return (
    <aside className="sidebar" aria-label="Sidebar">
      <nav role="tablist">
        {PANELS.map(([name, label]) => (
          <button key={name} role="tab" aria-selected={panel === name} onClick={() => openPanel(name)}>
            {label}
            {name === "errors" && unseen > 0 && panel !== "errors" && <b className="count">{unseen}</b>}
          </button>
        ))}
      </nav>
      <div className="panel" role="tabpanel">
        {panel === "info" && <Info />}
        {panel === "debug" && <Debug />}
        {panel === "errors" && <Errors />}
        {panel === "log" && <Log />}
        {panel === "history" && (
          <Suspense fallback={null}>
            <History />
          </Suspense>
        )}
      </div>
    </aside>
  );
}
