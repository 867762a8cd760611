/** What is selected: a flow, a node with what it does now, a wire with how it delivers. */

import { lazy, Suspense } from "react";
import type { NodeDef, NodeStats, NodeType, WireDef } from "../api/types";
import { changeWire, removeWires, wireKey, wiresOf } from "../model/flow";
import { nodeNumbers } from "../model/health";
import { activeTab, edit, livePrefix, nodeOf, select, shownFlow, useEditor } from "../state/editor";
import { useLive } from "../state/live";
import { coded } from "./Said";

const Charts = lazy(() => import("./Charts"));
const Help = lazy(() => import("./Help"));
const Markdown = lazy(() => import("./Markdown"));
const NO_STATS: Record<string, NodeStats> = {};

export function Info() {
  const tab = useEditor(activeTab);
  const { nodes, wire } = useEditor((state) => state.selected);
  const id = nodes.size === 1 ? [...nodes][0]! : null;
  const node = useEditor((state) => (id ? nodeOf(state, id) : undefined));
  const type = useEditor((state) => (node ? state.types[node.type] : undefined));
  const flow = useEditor(shownFlow);
  const prefix = useEditor(livePrefix);
  const live = prefix === null ? "" : `${tab?.id}/${prefix}${id}`;
  const stats = useLive((now) => now.stats[live] ?? NO_STATS);
  const states = useLive((now) => now.states[live]);
  if (!tab || !flow) return null;
  const chosen = wire ? wiresOf(flow).find((one) => wireKey(one) === wire) : undefined;
  if (chosen) return <WireInfo wire={chosen} />;
  if (node)
    return <NodeInfo node={node} type={type} stats={Object.values(stats)} processes={Object.values(states ?? {})} />;
  return (
    <>
      <h3>{tab.doc.name || tab.id}</h3>
      <p>{coded(tab.doc.description ?? "")}</p>
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
  const flow = useEditor((state) => state.active);
  return (
    <>
      <h3>{node.name || node.id}</h3>
      <p className="hint">{node.type}</p>
      {node.note && (
        <Suspense fallback={<p className="note">{node.note}</p>}>
          <Markdown text={node.note} />
        </Suspense>
      )}
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
      {processes[0] && (
        <Suspense fallback={null}>
          <Charts key={processes[0].process} process={`${flow}/${processes[0].process}`} />
        </Suspense>
      )}
      {type && (
        <Suspense fallback={<p className="help">{type.doc.split("\n\n")[0]}</p>}>
          <Help type={type} />
        </Suspense>
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
        <Count label="Window, messages" value={wire.window ?? 1024} onChange={(window) => change({ window })} />
      )}
      {delivery === "latest" && (
        <Count label="Keep, messages" value={wire.keep ?? 1} onChange={(keep) => change({ keep })} />
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

function Count(props: { label: string; value: number; onChange: (value: number | undefined) => void }) {
  return (
    <label>
      {props.label}
      <input
        type="number"
        min={1}
        value={props.value}
        onChange={(event) => props.onChange(Number(event.target.value) || undefined)}
      />
    </label>
  );
}
