/** A node on the canvas: its name, its ports, below them what it says of itself. */

import { Handle, Position, useConnection, type NodeProps } from "@xyflow/react";
import { memo } from "react";
import { DEBUG, isShowing, switchDebug } from "../state/debugNodes";
import { attempt, shownFlow, useEditor } from "../state/editor";
import { api } from "../api/http";
import { useLive } from "../state/live";
import { instanceMark, nodeMark } from "../model/health";
import { portAt, refusal } from "../model/ports";
import { subflowName } from "../model/subflows";
import type { NodeState, Port } from "../api/types";
import type { NodeData } from "./drawing";
import { Icon } from "./Icon";
import { typeColour } from "./look";

const NOTHING: Record<string, NodeState> = {};

export const NodeView = memo(function NodeView({ data, selected }: NodeProps & { data: NodeData }) {
  const { def, flow, ports } = data;
  const states = useLive((now) => (data.live && now.states[data.live]) || NOTHING);
  const badge = useLive((now) => (data.live ? now.badges[data.live] : undefined));
  const isInstance = subflowName(def.type) !== null;
  const inside = useLive((now) => (isInstance && data.live ? instanceMark(data.live, now.states) : "none"));
  const mark = isInstance ? inside : nodeMark(Object.values(states));
  const others = useLive((now) => now.people);
  const me = useLive((now) => now.me);
  const here = others.filter((one) => one.number !== me && one.flow === flow && one.node === def.id);
  const rows = Math.max(ports.inputs.length, ports.outputs.length, 1);
  const says = mark === "running" ? badge?.text : undefined;
  const reason = Object.values(states).find((one) => one.reason)?.reason;
  const classes = [
    "node",
    selected && "is-selected",
    def.disabled && "is-disabled",
    (!data.known || data.missing) && "is-missing",
    data.problems && "is-invalid",
  ];
  return (
    <div
      className={classes.filter(Boolean).join(" ")}
      style={{ minHeight: 34 + (rows - 1) * 18 }}
      title={data.problems?.join("\n") ?? [def.name, data.tip].filter(Boolean).join("\n")}
      data-node={def.id}
    >
      <Icon name={data.icon} title={data.title} category={data.category} />
      <span className={rows > 1 ? "node-name is-tall" : "node-name"} style={besides(ports)}>
        {def.name || (isInstance ? data.title : def.id)}
      </span>
      {data.hasButton && !def.disabled && (
        <button
          className="node-button nodrag"
          aria-label={`Inject ${def.id}`}
          title="Send a message now"
          onClick={(event) => {
            event.stopPropagation();
            void attempt(api.inject(flow, data.live!.slice(flow.length + 1)), `${def.id}: sent`);
          }}
        >
          ▶
        </button>
      )}
      {def.type === DEBUG && !def.disabled && (
        <button
          className={`node-button nodrag ${isShowing(def) ? "is-on" : "is-off"}`}
          role="switch"
          aria-checked={isShowing(def)}
          aria-label={`Show messages of ${def.id}`}
          title={isShowing(def) ? "Shows messages: click to stop" : "Shows nothing: click to show messages"}
          onClick={(event) => {
            event.stopPropagation();
            void switchDebug(flow, [def.id], !isShowing(def));
          }}
        >
          {isShowing(def) ? "●" : "○"}
        </button>
      )}
      {data.changed && <span className="node-changed" title="Changed since the last deploy" aria-label="changed" />}
      {data.problems && (
        <span className="node-problem" aria-label="invalid">
          !
        </span>
      )}
      <Ends ports={ports.inputs} side="target" rows={rows} node={def.id} />
      <Ends ports={ports.outputs} side="source" rows={rows} node={def.id} />
      <div className="node-under">
        {!data.known ? (
          <span className="is-failed">type {def.type} is not installed</span>
        ) : data.missing ? (
          <span className="is-failed">{data.missing}</span>
        ) : def.disabled ? (
          <span>disabled</span>
        ) : (
          mark !== "none" && (
            <>
              <i className={`dot is-${mark}`} />
              <span className={badge && mark === "running" ? `badge is-${badge.kind}` : ""} title={reason || says}>
                {mark === "running" ? says : mark === "failed" && reason ? `failed: ${reason}` : mark}
              </span>
            </>
          )
        )}
        {here.map((one) => (
          <span key={one.number} className="person">
            {one.name || `browser ${one.number}`}
          </span>
        ))}
      </div>
    </div>
  );
});

const LETTER = 5; // of a port's name, about

/** Room for the names of ports, which are shown where there are several. */
function besides({ inputs, outputs }: NodeData["ports"]) {
  const room = (side: Port[]) =>
    side.length > 1 ? { px: 8 + LETTER * Math.max(...side.map((port) => port.name.length)) } : null;
  return { paddingRight: room(outputs)?.px, paddingLeft: room(inputs)?.px };
}

/** The ports of one side. While a wire is drawn, those that it does not fit are dimmed and say why. */
function Ends({ ports, side, rows, node }: { ports: Port[]; side: "source" | "target"; rows: number; node: string }) {
  const drawn = useConnection((connection) =>
    connection.inProgress && connection.fromHandle
      ? `${connection.fromHandle.type} ${connection.fromHandle.nodeId}.${connection.fromHandle.id}`
      : "",
  );
  return ports.map((port, k) => {
    const why = drawn && misfit(drawn, side, port);
    return (
      <Handle
        key={port.name}
        id={port.name}
        type={side}
        position={side === "source" ? Position.Right : Position.Left}
        className={why ? "port is-unfit" : "port"}
        style={{ top: 17 + (rows === 1 ? 0 : k * 18), background: typeColour(port.type) }}
        title={why || `${port.name}: ${port.type}${port.description ? `, ${port.description}` : ""}`}
        data-port={`${node}.${port.name}`}
      >
        {ports.length > 1 && <span className={`port-name is-${side}`}>{port.name}</span>}
      </Handle>
    );
  });
}

/** Why a wire that is being drawn, "source hot.out", may not end at this port; "" when it may. */
function misfit(drawn: string, side: "source" | "target", port: Port): string {
  const [from, end] = drawn.split(" ") as [string, string];
  if (from === side) return "a wire goes from an output to an input";
  const state = useEditor.getState();
  const other = portAt(end, from === "source" ? "outputs" : "inputs", state.types, shownFlow(state)!);
  return (side === "target" ? refusal(other, port) : refusal(port, other)) ?? "";
}
