/** Dotted lines from the link nodes that are selected to their partners; what is in another flow is a tag that leads there. */

import { ViewportPortal } from "@xyflow/react";
import { useMemo } from "react";
import { nodesOf, type Point } from "../model/flow";
import { boxOf } from "../model/groups";
import { partnersOf, type Partner } from "../model/links";
import { openPath, shownFlow, useEditor } from "../state/editor";
import { reveal } from "../state/view";

interface Line {
  key: string;
  path: string;
  to: Point;
  tag?: Partner;
  isIn: boolean;
}

export function LinkLines() {
  const flow = useEditor(shownFlow);
  const tabs = useEditor((state) => state.tabs);
  const types = useEditor((state) => state.types);
  const selected = useEditor((state) => state.selected.nodes);
  const template = useEditor((state) => openPath(state).at(-1)?.subflow ?? null);
  const lines = useMemo(() => {
    if (!flow) return [];
    const flows = Object.values(tabs).map((tab) => tab.doc);
    return nodesOf(flow)
      .filter((node) => selected.has(node.id) && node.type.startsWith("core/link-"))
      .flatMap((node) => {
        const isIn = node.type === "core/link-in";
        const { here, elsewhere } = partnersOf(node, flows, flow, template);
        const box = boxOf(node, types, flow);
        const start = { x: isIn ? box.x : box.x + box.width, y: box.y + box.height / 2 };
        const near = here.map((id): Line => {
          const other = boxOf(
            nodesOf(flow).find((one) => one.id === id)!,
            types,
            flow,
          );
          const to = { x: isIn ? other.x + other.width : other.x, y: other.y + other.height / 2 };
          return { key: `${node.id} ${id}`, path: curve(start, to, isIn), to, isIn };
        });
        const far = elsewhere.map((tag, k): Line => {
          const to = { x: start.x + (isIn ? -40 : 40), y: start.y + (k - (elsewhere.length - 1) / 2) * 26 };
          return { key: `${node.id} ${tag.flow} ${tag.node}`, path: curve(start, to, isIn), to, tag, isIn };
        });
        return [...near, ...far];
      });
  }, [flow, tabs, types, selected, template]);
  if (!lines.length) return null;
  return (
    <ViewportPortal>
      <svg className="link-lines" aria-hidden>
        {lines.map((line) => (
          <path key={line.key} d={line.path} data-link={line.key} />
        ))}
      </svg>
      {lines.map(
        ({ key, tag, to, isIn }) =>
          tag && (
            <button
              key={key}
              className="link-tag nodrag nopan"
              style={{ transform: `translate(${to.x}px, ${to.y}px) translate(${isIn ? "-100%" : "0"}, -50%)` }}
              title={`Go to ${tag.label}`}
              onClick={() => reveal(tag.flow, tag.node)}
            >
              {tag.label}
            </button>
          ),
      )}
    </ViewportPortal>
  );
}

function curve(from: Point, to: Point, isIn: boolean): string {
  const bend = (isIn ? -1 : 1) * Math.max(30, Math.abs(to.x - from.x) / 2);
  return `M${from.x},${from.y} C${from.x + bend},${from.y} ${to.x - bend},${to.y} ${to.x},${to.y}`;
}
