/** What can be done with a node that runs, and with its drawing. */

import { api } from "../api/http";
import { changeNode, removeAndJoin, removeNodes, type Point } from "../model/flow";
import { nodeMark } from "../model/health";
import { attempt, edit, nodeOf, openForm, openPanel, useEditor } from "../state/editor";
import { useLive } from "../state/live";

export function NodeMenu({ node, at, onClose }: { node: string; at: Point; onClose: () => void }) {
  const flow = useEditor((state) => state.active);
  const def = useEditor((state) => nodeOf(state, node));
  const types = useEditor((state) => state.types);
  const states = useLive((now) => now.states[`${flow}/${node}`]);
  const mark = nodeMark(Object.values(states ?? {}));
  if (!def) return null;
  const isPaused = Object.values(states ?? {}).some((one) => one.state === "paused");
  const isBypassed = Object.values(states ?? {}).some((one) => one.state === "bypassed");
  const runs = mark !== "none";
  const items: [string, () => void, boolean?][] = [
    ["Edit", () => openForm(node)],
    [
      def.disabled ? "Enable" : "Disable",
      () => edit((doc) => changeNode(doc, node, (one) => ({ ...one, disabled: !one.disabled }))),
    ],
    ["Show its log", () => openPanel("log")],
    ["Restart", () => void attempt(api.steer(flow, node, "restart"), `${node}: restarted`), runs],
    [isPaused ? "Resume" : "Pause", () => void attempt(api.steer(flow, node, isPaused ? "resume" : "pause")), runs],
    [
      isBypassed ? "Use again" : "Bypass",
      () => void attempt(api.steer(flow, node, "bypass", { on: !isBypassed })),
      runs,
    ],
    ["Kill", () => void attempt(api.steer(flow, node, "kill"), `${node}: killed`), runs],
    ["Delete", () => edit((doc) => removeNodes(doc, new Set([node])))],
    ["Delete, join its neighbours", () => edit((doc) => removeAndJoin(doc, node, types))],
  ];
  return (
    <ul className="menu" role="menu" style={{ left: at.x, top: at.y }} onMouseLeave={onClose}>
      {items
        .filter(([, , shown]) => shown !== false)
        .map(([label, act]) => (
          <li key={label} role="none">
            <button
              role="menuitem"
              onClick={() => {
                onClose();
                act();
              }}
            >
              {label}
            </button>
          </li>
        ))}
    </ul>
  );
}
