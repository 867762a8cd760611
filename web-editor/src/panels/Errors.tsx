/** What failed, the newest first, each with the way to its node. */

import { useEffect } from "react";
import { reveal } from "../state/view";
import { clearErrors, seenErrors, useLive } from "../state/live";
import { clockTime } from "./clockTime";
import { Tree } from "./Tree";

export function NodeLink({ flow, node }: { flow: string; node: string }) {
  return (
    <button className="node-link" onClick={() => reveal(flow, node)}>
      {flow}.{node}
    </button>
  );
}

/** Nodes that do not run because they failed, with the reason. */
function Failed() {
  const states = useLive((now) => now.states);
  const failed = Object.entries(states).flatMap(([at, processes]) =>
    Object.values(processes)
      .filter((one) => one.state === "failed")
      .map((one) => ({ ...one, flow: at.slice(0, at.indexOf("/")) })),
  );
  return (
    <ul className="messages" aria-label="Failed nodes">
      {failed.map((one) => (
        <li key={`${one.flow}/${one.process}`} className="is-error">
          <div className="message-head">
            <NodeLink flow={one.flow} node={one.node} /> does not run
          </div>
          <strong>{one.reason}</strong>
        </li>
      ))}
    </ul>
  );
}

export function Errors() {
  const errors = useLive((now) => now.errors);
  useEffect(seenErrors, [errors]);
  return (
    <>
      {errors.length > 0 && (
        <div className="panel-tools">
          <button onClick={clearErrors}>Clear</button>
        </div>
      )}
      <Failed />
      <ul className="messages" aria-label="Errors">
        {[...errors].reverse().map((one) => (
          <li key={`${one.ts}-${one.node}`} className="is-error">
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
      {!errors.length && <p className="hint">No message has failed since this page was opened.</p>}
    </>
  );
}
