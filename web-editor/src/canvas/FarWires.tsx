/** All wires as a few lines, one a colour: what is drawn of them where the zoom is too small to tell them apart. */

import { ViewportPortal } from "@xyflow/react";
import { memo, useMemo } from "react";
import type { FlowDoc, NodeType } from "../api/types";
import { ends, nodesOf, type Point } from "../model/flow";
import { boxOf } from "../model/groups";
import { portsOf, type Ports } from "../model/ports";
import type { drawWires } from "./drawing";
import { typeColour } from "./look";

interface Props {
  flow: FlowDoc;
  types: Record<string, NodeType>;
  edges: ReturnType<typeof drawWires>;
}

export const FarWires = memo(function FarWires({ flow, types, edges }: Props) {
  const lines = useMemo(() => {
    const nodes = new Map(nodesOf(flow).map((node) => [node.id, { box: boxOf(node, types, flow), node }]));
    const place = (end: string, side: keyof Ports): Point | undefined => {
      const found = nodes.get(ends(end)[0]);
      if (!found) return undefined;
      const ports = portsOf(found.node, types, flow)[side];
      const row =
        ports.length > 1
          ? Math.max(
              0,
              ports.findIndex((port) => port.name === ends(end)[1]),
            )
          : 0;
      return { x: found.box.x + (side === "outputs" ? found.box.width : 0), y: found.box.y + 17 + row * 18 };
    };
    const paths = new Map<string, string>();
    for (const { data } of edges) {
      const [from, to] = [place(data!.def.from, "outputs"), place(data!.def.to, "inputs")];
      if (!from || !to) continue;
      const bend = Math.max(40, Math.abs(to.x - from.x) / 2);
      const path = `M${from.x},${from.y}C${from.x + bend},${from.y} ${to.x - bend},${to.y} ${to.x},${to.y}`;
      const colour = typeColour(data!.type);
      paths.set(colour, (paths.get(colour) ?? "") + path);
    }
    return [...paths];
  }, [flow, types, edges]);
  return (
    <ViewportPortal>
      <svg className="far-wires" aria-hidden>
        {lines.map(([colour, path]) => (
          <path key={colour} d={path} style={{ stroke: colour }} />
        ))}
      </svg>
    </ViewportPortal>
  );
});
