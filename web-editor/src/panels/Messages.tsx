/** What came in: debug messages and errors, the newest first, each with the way to its node. */

import { useEffect, useState } from "react";
import { useEditor } from "../state/editor";
import { reveal } from "../state/view";
import { clearDebug, pauseDebug, seenErrors, useLive } from "../state/live";
import { clockTime } from "./clockTime";
import { Tree } from "./Tree";

function NodeLink({ flow, node }: { flow: string; node: string }) {
  return (
    <button className="node-link" onClick={() => reveal(flow, node)}>
      {flow}.{node}
    </button>
  );
}

export function Debug() {
  const messages = useLive((now) => now.debug);
  const leftOut = useLive((now) => now.leftOut);
  const paused = useLive((now) => now.paused);
  const flow = useEditor((state) => state.active);
  const selected = useEditor((state) => state.selected.nodes);
  const [filter, setFilter] = useState<"all" | "flow" | "node">("all");
  const shown = messages.filter(
    (one) => filter === "all" || (one.flow === flow && (filter === "flow" || selected.has(one.node))),
  );
  return (
    <>
      <div className="panel-tools">
        <select
          aria-label="Show messages of"
          value={filter}
          onChange={(event) => setFilter(event.target.value as typeof filter)}
        >
          <option value="all">all flows</option>
          <option value="flow">this flow</option>
          <option value="node">selected nodes</option>
        </select>
        <button aria-pressed={paused} onClick={() => pauseDebug(!paused)}>
          {paused ? "Go on" : "Pause"}
        </button>
        <button onClick={clearDebug}>Clear</button>
      </div>
      {leftOut > 0 && <p className="hint">{leftOut.toLocaleString("en")} left out: too many to show</p>}
      <ul className="messages" aria-label="Debug messages">
        {shown
          .slice(-150)
          .reverse()
          .map((one, k) => (
            <li key={`${one.ts}-${one.id}-${k}`}>
              <div className="message-head">
                <time>{clockTime(one.ts)}</time> <NodeLink flow={one.flow} node={one.node} />{" "}
                {one.topic && <em>{one.topic}</em>}
              </div>
              <Tree value={one.value} />
              {one.is_cut && <p className="hint">cut: it is larger than the debug panel takes</p>}
            </li>
          ))}
      </ul>
      {!shown.length && <p className="hint">Messages that debug nodes show appear here.</p>}
    </>
  );
}

export function Errors() {
  const errors = useLive((now) => now.errors);
  useEffect(seenErrors, [errors]);
  return (
    <>
      <ul className="messages" aria-label="Errors">
        {[...errors].reverse().map((one, k) => (
          <li key={`${one.ts}-${k}`} className="is-error">
            <div className="message-head">
              <time>{clockTime(one.ts)}</time> <NodeLink flow={one.flow} node={one.node} />
            </div>
            <strong>
              {one.error}: {one.text}
            </strong>
            {one.message && (
              <Tree
                value={{
                  payload: one.message.payload,
                  topic: one.message.topic,
                  meta: one.message.meta,
                  id: one.message.id,
                }}
                path="msg"
                name="message"
              />
            )}
            {one.traceback && (
              <details>
                <summary>Traceback</summary>
                <pre>{one.traceback}</pre>
              </details>
            )}
          </li>
        ))}
      </ul>
      {!errors.length && <p className="hint">No node has failed since this page was opened.</p>}
    </>
  );
}
