/** Above an open template: the way back, whose nodes are seen live, what belongs to the subflow. */

import { useReactFlow } from "@xyflow/react";
import { useMemo } from "react";
import { snap } from "../model/flow";
import { addPort, subflowsOf, templateOf, usesOf, type PortSide } from "../model/subflows";
import { activeTab, edit, openDialog, openPath, useEditor } from "../state/editor";
import { closeTo, lookAt } from "../state/view";

export function Breadcrumb() {
  const tab = useEditor(activeTab);
  const inside = useEditor((state) => state.inside);
  const path = useMemo(() => openPath(useEditor.getState()), [tab, inside]);
  const { getViewport } = useReactFlow();
  const at = path.at(-1);
  if (!tab || !at) return null;
  const before = path.at(-2);
  const around = before ? templateOf(tab.doc, before.subflow) : tab.doc;
  const instances = (around.nodes ?? []).filter((node) => node.type === `subflow:${at.subflow}`);
  const uses = usesOf(tab.doc, at.subflow).length;
  const add = (side: PortSide) => {
    const { x, y, zoom } = getViewport();
    edit((doc) =>
      addPort(doc, side, { x: snap(((side === "inputs" ? 60 : 600) - x) / zoom), y: snap((90 - y) / zoom) }),
    );
  };
  return (
    <nav className="breadcrumb" aria-label="Open subflow">
      <button onClick={() => closeTo(0)}>{tab.doc.name || tab.id}</button>
      {path.map((one, k) => (
        <span key={k}>
          {" › "}
          {k < path.length - 1 ? (
            <button onClick={() => closeTo(k + 1)}>{subflowsOf(tab.doc)[one.subflow]?.name || one.subflow}</button>
          ) : (
            <strong>{subflowsOf(tab.doc)[one.subflow]?.name || one.subflow}</strong>
          )}
        </span>
      ))}
      <label>
        live in{" "}
        <select
          aria-label="Instance that is seen live"
          value={at.instance ?? ""}
          onChange={(event) => lookAt(event.target.value || null)}
        >
          <option value="">none</option>
          {instances.map((node) => (
            <option key={node.id} value={node.id}>
              {node.name || node.id}
            </option>
          ))}
        </select>
      </label>
      <span className="hint">used {uses === 1 ? "once" : `${uses} times`}</span>
      <button onClick={() => add("inputs")}>+ input</button>
      <button onClick={() => add("outputs")}>+ output</button>
      <button onClick={() => openDialog({ kind: "subflow", id: at.subflow })}>Parameters and settings</button>
    </nav>
  );
}
