/** What debug nodes show, the newest first: by flow and node, paused, cleared; and which of them show at all. */

import { useMemo, useState } from "react";
import type { DebugMessage } from "../api/types";
import { nodesOf } from "../model/flow";
import { activeTab, useEditor } from "../state/editor";
import { reveal } from "../state/view";
import { DEBUG, isShowing, switchDebug } from "../state/debugNodes";
import { clearDebug, pauseDebug, useLive } from "../state/live";
import { clockTime } from "./clockTime";
import { NodeLink } from "./Errors";
import { Tree } from "./Tree";

const MOST_SHOWN = 150;

export function Debug() {
  const messages = useLive((now) => now.debug);
  const leftOut = useLive((now) => now.leftOut);
  const paused = useLive((now) => now.paused);
  const flow = useEditor((state) => state.active);
  const selected = useEditor((state) => state.selected.nodes);
  const [filter, setFilter] = useState<string>("all");
  const sources = useMemo(() => [...new Set(messages.map((one) => `${one.flow}.${one.node}`))].sort(), [messages]);
  const fits = (one: DebugMessage) =>
    filter === "all" ||
    (filter === "flow" && one.flow === flow) ||
    (filter === "node" && one.flow === flow && (selected.has(one.node) || selected.has(one.node.split(":")[0]!))) ||
    filter === `${one.flow}.${one.node}`;
  const shown = messages.filter(fits);
  return (
    <>
      <div className="panel-tools">
        <select aria-label="Show messages of" value={filter} onChange={(event) => setFilter(event.target.value)}>
          <option value="all">all flows</option>
          <option value="flow">this flow</option>
          <option value="node">selected nodes</option>
          {[...new Set([...sources, ...(filter.includes(".") ? [filter] : [])])].map((one) => (
            <option key={one} value={one}>
              {one}
            </option>
          ))}
        </select>
        <button aria-pressed={paused} onClick={() => pauseDebug(!paused)}>
          {paused ? "Go on" : "Pause"}
        </button>
        <button onClick={clearDebug}>Clear</button>
      </div>
      <Switches />
      {leftOut > 0 && <p className="hint">{leftOut.toLocaleString("en")} left out: too many to show</p>}
      <ul className="messages" aria-label="Debug messages">
        {shown
          .slice(-MOST_SHOWN)
          .reverse()
          .map((one) => (
            <li key={one.number}>
              <div className="message-head">
                <time>{clockTime(one.ts)}</time> <NodeLink flow={one.flow} node={one.node} />{" "}
                {one.topic && <em>{one.topic}</em>}
              </div>
              <Tree value={one.value} />
              {one.is_cut && <p className="hint">cut: it is larger than the debug panel takes</p>}
            </li>
          ))}
      </ul>
      {!shown.length && (
        <p className="hint">
          {messages.length
            ? "Nothing of what came fits the filter."
            : paused
              ? "Paused: what comes now is not shown."
              : "Messages that debug nodes show appear here."}
        </p>
      )}
    </>
  );
}

/** The debug nodes of the flow that is open, to switch on and off while it runs. */
function Switches() {
  const tab = useEditor(activeTab);
  const isBusy = useEditor((state) => state.deploying);
  const nodes = useMemo(() => (tab ? nodesOf(tab.doc).filter((node) => node.type === DEBUG) : []), [tab]);
  if (!tab || !nodes.length) return null;
  const on = nodes.filter(isShowing);
  return (
    <details className="switches">
      <summary>
        {on.length} of {nodes.length} debug {nodes.length === 1 ? "node" : "nodes"} of this flow on
      </summary>
      {nodes.map((node) => (
        <div key={node.id} className="switch">
          <label>
            <input
              type="checkbox"
              checked={isShowing(node)}
              disabled={isBusy}
              onChange={() => void switchDebug(tab.id, [node.id], !isShowing(node))}
            />{" "}
            {node.name || node.id}
          </label>
          <button className="node-link" onClick={() => reveal(tab.id, node.id)}>
            find
          </button>
        </div>
      ))}
      {nodes.length > 1 && (
        <button
          disabled={isBusy}
          onClick={() =>
            void switchDebug(
              tab.id,
              nodes.map((node) => node.id),
              !on.length,
            )
          }
        >
          {on.length ? "All off" : "All on"}
        </button>
      )}
    </details>
  );
}
