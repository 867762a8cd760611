/** The sidebar: what is selected, debug messages, errors, logs, revisions. */

import { lazy, Suspense, useEffect, useState } from "react";
import { api } from "../api/http";
import type { LogLine, NodeDef, NodeStats, NodeType, Revision, WireDef } from "../api/types";
import { changeWire, removeWires, wireKey, wiresOf } from "../model/flow";
import { nodeNumbers } from "../model/health";
import { activeTab, attempt, edit, nodeOf, openPanel, reveal, select, useEditor, type Panel } from "../state/editor";
import { clearDebug, pauseDebug, seenErrors, useLive } from "../state/live";
import { Tree } from "./Tree";

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

const NO_STATS: Record<string, NodeStats> = {};

function Info() {
  const tab = useEditor(activeTab);
  const { nodes, wire } = useEditor((state) => state.selected);
  const id = nodes.size === 1 ? [...nodes][0]! : null;
  const node = useEditor((state) => (id ? nodeOf(state, id) : undefined));
  const type = useEditor((state) => (node ? state.types[node.type] : undefined));
  const stats = useLive((now) => now.stats[`${tab?.id}/${id}`] ?? NO_STATS);
  const states = useLive((now) => now.states[`${tab?.id}/${id}`]);
  if (!tab) return null;
  const chosen = wire ? wiresOf(tab.doc).find((one) => wireKey(one) === wire) : undefined;
  if (chosen) return <WireInfo wire={chosen} />;
  if (node)
    return <NodeInfo node={node} type={type} stats={Object.values(stats)} processes={Object.values(states ?? {})} />;
  return (
    <>
      <h3>{tab.doc.name || tab.id}</h3>
      <p>{tab.doc.description}</p>
      <dl>
        <dt>Id</dt>
        <dd>{tab.id}</dd>
        <dt>Revision</dt>
        <dd>{tab.base || "never deployed"}</dd>
        <dt>Nodes</dt>
        <dd>{tab.doc.nodes?.length ?? 0}</dd>
      </dl>
      {nodes.size > 1 && <p>{nodes.size} nodes selected</p>}
      <p className="hint">Press ? for the keys.</p>
    </>
  );
}

function NodeInfo(props: {
  node: NodeDef;
  type: NodeType | undefined;
  stats: NodeStats[];
  processes: { process: string; state: string; pid: number | null; restarts: number }[];
}) {
  const { node, type, stats, processes } = props;
  return (
    <>
      <h3>{node.name || node.id}</h3>
      <p className="hint">{node.type}</p>
      {node.note && <p className="note">{node.note}</p>}
      {processes.length > 0 && (
        <table>
          <tbody>
            {processes.map((one) => (
              <tr key={one.process}>
                <td>{one.process}</td>
                <td>{one.state}</td>
                <td>{one.pid ? `pid ${one.pid}` : ""}</td>
                <td>{one.restarts ? `${one.restarts} restarts` : ""}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <dl>
        {nodeNumbers(stats).map(({ label, value }) => (
          <div key={label}>
            <dt>{label}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {type && (
        <div className="help">
          {type.doc.split("\n\n").map((part, k) => (
            <p key={k}>{part}</p>
          ))}
        </div>
      )}
    </>
  );
}

function WireInfo({ wire }: { wire: WireDef }) {
  const key = wireKey(wire);
  const flow = useEditor((state) => state.active);
  const now = useLive((state) => state.wires[`${flow}/${key}`]);
  const change = (changes: Partial<WireDef>) => edit((doc) => changeWire(doc, key, changes));
  const delivery = wire.delivery ?? "reliable";
  return (
    <>
      <h3>Wire</h3>
      <p>
        {wire.from} → {wire.to}
      </p>
      <label>
        Delivery
        <select
          value={delivery}
          onChange={(event) =>
            change({
              delivery: event.target.value === "reliable" ? undefined : (event.target.value as WireDef["delivery"]),
            })
          }
        >
          <option value="reliable">reliable: nothing is lost, a full window waits</option>
          <option value="latest">latest: the newest wins, skipped ones are counted</option>
          <option value="durable">durable: on disk before it counts</option>
        </select>
      </label>
      {delivery !== "latest" && (
        <label>
          Window, messages
          <input
            type="number"
            min={1}
            value={wire.window ?? 1024}
            onChange={(event) => change({ window: Number(event.target.value) || undefined })}
          />
        </label>
      )}
      {delivery === "latest" && (
        <label>
          Keep, messages
          <input
            type="number"
            min={1}
            value={wire.keep ?? 1}
            onChange={(event) => change({ keep: Number(event.target.value) || undefined })}
          />
        </label>
      )}
      <label className="is-inline">
        <input
          type="checkbox"
          checked={!wire.disabled}
          onChange={(event) => change({ disabled: event.target.checked ? undefined : true })}
        />{" "}
        Enabled
      </label>
      {now && (
        <dl>
          <dt>On the wire</dt>
          <dd>
            {now.queued} of {now.window}
          </dd>
          <dt>Dropped</dt>
          <dd>{now.drops}</dd>
        </dl>
      )}
      <button
        onClick={() => {
          edit((doc) => removeWires(doc, new Set([key])));
          select([]);
        }}
      >
        Delete
      </button>
    </>
  );
}

const time = (ns: number) =>
  new Date(ns / 1e6).toLocaleTimeString("en-GB", { hour12: false }) +
  `.${String(Math.floor(ns / 1e6) % 1000).padStart(3, "0")}`;

function NodeLink({ flow, node }: { flow: string; node: string }) {
  return (
    <button className="node-link" onClick={() => reveal(flow, node)}>
      {flow}.{node}
    </button>
  );
}

function Debug() {
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
                <time>{time(one.ts)}</time> <NodeLink flow={one.flow} node={one.node} />{" "}
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

function Errors() {
  const errors = useLive((now) => now.errors);
  useEffect(seenErrors, [errors]);
  return (
    <>
      <ul className="messages" aria-label="Errors">
        {[...errors].reverse().map((one, k) => (
          <li key={`${one.ts}-${k}`} className="is-error">
            <div className="message-head">
              <time>{time(one.ts)}</time> <NodeLink flow={one.flow} node={one.node} />
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

function Log() {
  const flow = useEditor((state) => state.active);
  const selected = useEditor((state) => [...state.selected.nodes][0]);
  const lines = useLive((now) => now.logs);
  const [earlier, setEarlier] = useState<LogLine[]>([]);
  useEffect(() => {
    setEarlier([]);
    if (selected)
      void attempt(
        api
          .logs(flow, selected)
          .then((found) =>
            setEarlier(found.map((one) => ({ ...one, flow, node: selected, event: one.event ?? one.text }))),
          ),
      );
  }, [flow, selected]);
  const shown = selected ? [...earlier, ...lines.filter((one) => one.flow === flow && one.node === selected)] : lines;
  return (
    <>
      <p className="hint">{selected ? `${flow}.${selected}` : "All flows; select a node for its own log"}</p>
      <ul className="log" aria-label="Log">
        {shown.slice(-200).map((one, k) => (
          <li key={k} className={`is-${one.level}`}>
            <time>{typeof one.ts === "number" ? time(one.ts) : String(one.ts).slice(11, 19)}</time>{" "}
            {!selected && `${one.node}: `}
            {one.event} {one.detail}
          </li>
        ))}
      </ul>
    </>
  );
}

export type { Revision };
