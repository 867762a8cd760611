/** What can be done with a node that runs and with its drawing, and with a wire. */

import { api } from "../api/http";
import { groupSelection, makeSubflowOfSelection, ungroupSelection } from "../chrome/structure";
import { Menu, type MenuItem } from "../chrome/Menu";
import {
  changeNode,
  changeWire,
  removeAndJoin,
  removeNodes,
  removeWires,
  wireKey,
  wiresOf,
  type Point,
} from "../model/flow";
import { changeGroup, groupsOf, regroup } from "../model/groups";
import { nodeMark } from "../model/health";
import { isPort, subflowName } from "../model/subflows";
import {
  attempt,
  edit,
  livePrefix,
  nodeOf,
  openDialog,
  openForm,
  openPanel,
  select,
  shownFlow,
  useEditor,
} from "../state/editor";
import { useLive } from "../state/live";
import { openSubflow } from "../state/view";
import { groupBoxId } from "./drawing";
import { insertJunction } from "./pick";

interface Props {
  at: Point;
  onClose: () => void;
}

export function NodeMenu({ node, at, onClose }: Props & { node: string }) {
  if (node.startsWith(groupBoxId("")))
    return <GroupMenu group={node.slice(groupBoxId("").length)} {...{ at, onClose }} />;
  return <OfNode {...{ node, at, onClose }} />;
}

function OfNode({ node, at, onClose }: Props & { node: string }) {
  const flow = useEditor((state) => state.active);
  const def = useEditor((state) => nodeOf(state, node));
  const types = useEditor((state) => state.types);
  const prefix = useEditor(livePrefix);
  const chosen = useEditor((state) => state.selected.nodes);
  const live = prefix === null ? null : prefix + node;
  const states = useLive((now) => (live === null ? undefined : now.states[`${flow}/${live}`]));
  const mark = nodeMark(Object.values(states ?? {}));
  if (!def) return null;
  if (isPort(node)) {
    const items = [
      { label: "Rename", act: () => openDialog({ kind: "port", id: node }) },
      { label: "Delete", act: () => edit((doc) => removeNodes(doc, new Set([node]))) },
    ];
    return <Menu items={items} at={at} onClose={onClose} />;
  }
  const isPaused = Object.values(states ?? {}).some((one) => one.state === "paused");
  const isBypassed = Object.values(states ?? {}).some((one) => one.state === "bypassed");
  const subflow = subflowName(def.type);
  const items: MenuItem[] = [
    { label: "Edit", act: () => openForm(node) },
    ...(subflow ? [{ label: "Open the subflow", act: () => openSubflow(subflow, node) }] : []),
    {
      label: def.disabled ? "Enable" : "Disable",
      act: () => edit((doc) => changeNode(doc, node, (one) => ({ ...one, disabled: !one.disabled }))),
    },
    { label: "Show its log", act: () => openPanel("log") },
    { label: "Try on a sample", act: () => openPanel("try") },
  ];
  if (mark !== "none" && live !== null)
    items.push(
      { label: "Restart", act: () => void attempt(api.steer(flow, live, "restart"), `${live}: restarted`) },
      {
        label: isPaused ? "Resume" : "Pause",
        act: () => void attempt(api.steer(flow, live, isPaused ? "resume" : "pause")),
      },
      {
        label: isBypassed ? "Use again" : "Bypass",
        act: () => void attempt(api.steer(flow, live, "bypass", { on: !isBypassed })),
      },
      { label: "Kill", act: () => void attempt(api.steer(flow, live, "kill"), `${live}: killed`) },
    );
  items.push(
    { label: chosen.size > 1 ? "Group these" : "Group", act: groupSelection },
    ...(def.group ? [{ label: "Out of its group", act: () => edit((doc) => regroup(doc, chosen, null)) }] : []),
    { label: "Make a subflow", act: makeSubflowOfSelection },
    { label: "Delete", act: () => edit((doc) => removeNodes(doc, new Set([node]))) },
    { label: "Delete, join its neighbours", act: () => edit((doc) => removeAndJoin(doc, node, types)) },
  );
  return <Menu items={items} at={at} onClose={onClose} />;
}

function GroupMenu({ group, at, onClose }: Props & { group: string }) {
  const flow = useEditor(shownFlow);
  const def = flow && groupsOf(flow).find((one) => one.id === group);
  const members = useEditor((state) => state.selected.nodes);
  if (!def) return null;
  const items: MenuItem[] = [
    { label: "Edit", act: () => openDialog({ kind: "group", id: group }) },
    {
      label: def.disabled ? "Enable" : "Disable",
      act: () => edit((doc) => changeGroup(doc, group, (one) => ({ ...one, disabled: !one.disabled }))),
    },
    { label: "Make a subflow", act: makeSubflowOfSelection },
    { label: "Ungroup", act: ungroupSelection },
    { label: "Delete with its nodes", act: () => edit((doc) => removeNodes(doc, members)) },
  ];
  return <Menu items={items} at={at} onClose={onClose} />;
}

export function WireMenu({ wire, at, place, onClose }: Props & { wire: string; place: Point }) {
  const flow = useEditor(shownFlow);
  const types = useEditor((state) => state.types);
  const def = flow && wiresOf(flow).find((one) => wireKey(one) === wire);
  if (!def) return null;
  const junction = () => {
    const made = insertJunction(flow, wire, types, place);
    if (!made) return;
    edit(() => made[0]);
    select([made[1]]);
  };
  const isOfPort = isPort(def.from) || isPort(def.to);
  const items: MenuItem[] = [
    { label: "Insert a junction", act: junction },
    ...(isOfPort
      ? []
      : [
          {
            label: def.disabled ? "Enable" : "Disable",
            act: () => edit((doc) => changeWire(doc, wire, { disabled: def.disabled ? undefined : true })),
          },
        ]),
    { label: "Delete", act: () => edit((doc) => removeWires(doc, new Set([wire]))) },
  ];
  return <Menu items={items} at={at} onClose={onClose} />;
}
