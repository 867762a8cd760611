/** Automatic layout by elkjs, loaded when it is asked for. */

import ELK from "elkjs/lib/elk.bundled.js";
import type { FlowDoc, NodeType } from "../api/types";
import { ends, nodesOf, NODE_WIDTH, snap, wiresOf, type Point } from "../model/flow";
import { portsOf } from "../model/ports";

export async function layOut(flow: FlowDoc, types: Record<string, NodeType>): Promise<Map<string, Point>> {
  const laid = await new ELK().layout({
    id: "root",
    layoutOptions: {
      "elk.algorithm": "layered",
      "elk.direction": "RIGHT",
      "elk.layered.spacing.nodeNodeBetweenLayers": "80",
      "elk.spacing.nodeNode": "40",
      "elk.spacing.componentComponent": "60",
    },
    children: nodesOf(flow).map((node) => {
      const ports = portsOf(node, types, flow);
      return {
        id: node.id,
        width: NODE_WIDTH,
        height: 34 + 18 * (Math.max(ports.inputs.length, ports.outputs.length, 1) - 1) + 16,
      };
    }),
    edges: wiresOf(flow).map((wire, k) => ({
      id: `w${k}`,
      sources: [ends(wire.from)[0]],
      targets: [ends(wire.to)[0]],
    })),
  });
  return new Map(
    (laid.children ?? []).map((node) => [node.id, { x: snap((node.x ?? 0) + 60), y: snap((node.y ?? 0) + 60) }]),
  );
}
