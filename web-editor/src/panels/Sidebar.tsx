/** The sidebar: what is selected, debug messages, errors, logs, revisions. */

import { lazy, Suspense } from "react";
import { openPanel, useEditor, type Panel } from "../state/editor";
import { useLive } from "../state/live";
import { Debug } from "./Debug";
import { Errors } from "./Errors";
import { Info } from "./Info";
import { Log } from "./Log";

const Data = lazy(() => import("./Data"));
const Try = lazy(() => import("./Try"));
const History = lazy(() => import("./History"));

const PANELS: [Panel, string][] = [
  ["info", "Info"],
  ["debug", "Debug"],
  ["errors", "Errors"],
  ["log", "Log"],
  ["try", "Try"],
  ["data", "Data"],
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
        <Suspense fallback={null}>
          {panel === "try" && <Try />}
          {panel === "data" && <Data />}
          {panel === "history" && <History />}
        </Suspense>
      </div>
    </aside>
  );
}
