/** What can be done with a node that runs, and with its drawing. */

import { api } from "../api/http";
import { Menu, type MenuItem } from "../chrome/Menu";
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
  const items: MenuItem[] = [
    { label: "Edit", act: () => openForm(node) },
    {
      label: def.disabled ? "Enable" : "Disable",
      act: () => edit((doc) => changeNode(doc, node, (one) => ({ ...one, disabled: !one.disabled }))),
    },
    { label: "Show its log", act: () => openPanel("log") },
  ];
  if (mark !== "none")
    items.push(
      { label: "Restart", act: () => void attempt(api.steer(flow, node, "restart"), `${node}: restarted`) },
      {
        label: isPaused ? "Resume" : "Pause",
        act: () => void attempt(api.steer(flow, node, isPaused ? "resume" : "pause")),
      },
      {
        label: isBypassed ? "Use again" : "Bypass",
        act: () => void attempt(api.steer(flow, node, "bypass", { on: !isBypassed })),
      },
      { label: "Kill", act: () => void attempt(api.steer(flow, node, "kill"), `${node}: killed`) },
    );
  items.push(
    { label: "Delete", act: () => edit((doc) => removeNodes(doc, new Set([node]))) },
    { label: "Delete, join its neighbours", act: () => edit((doc) => removeAndJoin(doc, node, types)) },
  );
  return <Menu items={items} at={at} onClose={onClose} />;
}
