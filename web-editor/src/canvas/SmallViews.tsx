/** What is drawn otherwise than a node: the frame of a group, a comment, a junction, a port of a template. */

import { Handle, Position, type NodeProps } from "@xyflow/react";
import { memo } from "react";
import { edit, openDialog } from "../state/editor";
import { changeGroup } from "../model/groups";
import type { GroupData, NodeData } from "./drawing";
import { typeColour } from "./look";

export const GroupView = memo(function GroupView({ data, selected }: NodeProps & { data: GroupData }) {
  const { group, count } = data;
  const classes = ["group", `is-${group.ui?.colour ?? "grey"}`, selected && "is-selected", group.disabled && "is-off"];
  return (
    <div className={classes.filter(Boolean).join(" ")} data-group={group.id} title={group.note}>
      <span className="group-label" onDoubleClick={() => openDialog({ kind: "group", id: group.id })}>
        {group.name || (selected ? group.id : "")}
        {group.disabled && (
          <button
            className="nodrag"
            title="Use its nodes again"
            onClick={() => edit((doc) => changeGroup(doc, group.id, (one) => ({ ...one, disabled: false })))}
          >
            disabled
          </button>
        )}
      </span>
      {count === 0 && <p className="hint">empty</p>}
    </div>
  );
});

export const CommentView = memo(function CommentView({ data, selected }: NodeProps & { data: NodeData }) {
  return (
    <div className={`comment ${selected ? "is-selected" : ""}`} data-node={data.def.id}>
      <strong>{data.def.name || "Comment"}</strong>
      {data.def.note && <p>{data.def.note}</p>}
    </div>
  );
});

export const JunctionView = memo(function JunctionView({ data, selected }: NodeProps & { data: NodeData }) {
  const { def } = data;
  return (
    <div className={`junction ${selected ? "is-selected" : ""}`} data-node={def.id} title={def.name || "Junction"}>
      <Handle id="in" type="target" position={Position.Left} className="port" data-port={`${def.id}.in`} />
      <Handle id="out" type="source" position={Position.Right} className="port" data-port={`${def.id}.out`} />
    </div>
  );
});

export const PortView = memo(function PortView({ data, selected }: NodeProps & { data: NodeData }) {
  const { def, ports } = data;
  const isInput = def.type === "@input";
  const port = (isInput ? ports.outputs : ports.inputs)[0]!;
  return (
    <div
      className={`template-port ${selected ? "is-selected" : ""}`}
      data-node={def.id}
      title={isInput ? "An input of the subflow: what arrives at its instances" : "An output of the subflow"}
    >
      <small>{isInput ? "input" : "output"}</small> {def.name}
      <Handle
        id={port.name}
        type={isInput ? "source" : "target"}
        position={isInput ? Position.Right : Position.Left}
        className="port"
        style={{ background: typeColour(port.type) }}
        data-port={`${def.id}.${port.name}`}
      />
    </div>
  );
});
