/** The flow as a small picture, and what of it is in view; press or drag in it to go there. */

import { Panel, useReactFlow, useStore } from "@xyflow/react";
import { memo, useMemo, type PointerEvent } from "react";
import type { FlowDoc, NodeType } from "../api/types";
import { nodesOf } from "../model/flow";
import { boxOf, frameOf, groupsOf, type Box } from "../model/groups";

const WIDTH = 200;
const HEIGHT = 150;
const MARGIN = 100;

export function MiniMap({ flow, types }: { flow: FlowDoc; types: Record<string, NodeType> }) {
  const { setCenter, getZoom } = useReactFlow();
  const boxes = useMemo(() => nodesOf(flow).map((node) => boxOf(node, types, flow)), [flow, types]);
  const frames = useMemo(() => groupsOf(flow).map((group) => frameOf(flow, group, types)), [flow, types]);
  const around = useMemo(() => boundsOf([...boxes, ...frames]), [boxes, frames]);
  const scale = Math.min(WIDTH / around.width, HEIGHT / around.height);
  const go = (event: PointerEvent<HTMLDivElement>) => {
    if (!event.buttons) return;
    const at = event.currentTarget.getBoundingClientRect();
    const [x, y] = [(event.clientX - at.left) / scale + around.x, (event.clientY - at.top) / scale + around.y];
    void setCenter(x, y, { zoom: getZoom() });
  };
  return (
    <Panel position="bottom-right">
      <div
        className="minimap"
        role="img"
        aria-label="Mini-map"
        style={{ width: around.width * scale, height: around.height * scale }}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          go(event);
        }}
        onPointerMove={go}
      >
        <Picture boxes={boxes} frames={frames} around={around} />
        <View around={around} scale={scale} />
      </div>
    </Panel>
  );
}

/** Apart from `View`: it changes only with the flow. */
const Picture = memo(function Picture({ boxes, frames, around }: { boxes: Box[]; frames: Box[]; around: Box }) {
  const path = (some: Box[]) =>
    some.map((box) => `M${box.x},${box.y}h${box.width}v${box.height}h${-box.width}z`).join("");
  return (
    <svg viewBox={`${around.x} ${around.y} ${around.width} ${around.height}`} width="100%" height="100%">
      <path className="minimap-frames" d={path(frames)} />
      <path className="minimap-nodes" d={path(boxes)} />
    </svg>
  );
});

function View({ around, scale }: { around: Box; scale: number }) {
  const [x, y, zoom] = useStore((state) => state.transform);
  const [width, height] = [useStore((state) => state.width), useStore((state) => state.height)];
  const left = (-x / zoom - around.x) * scale;
  const top = (-y / zoom - around.y) * scale;
  return (
    <div
      className="minimap-view"
      style={{
        transform: `translate(${left}px, ${top}px)`,
        width: (width / zoom) * scale,
        height: (height / zoom) * scale,
      }}
    />
  );
}

function boundsOf(boxes: Box[]): Box {
  if (!boxes.length) return { x: 0, y: 0, width: 800, height: 600 };
  const left = Math.min(...boxes.map((box) => box.x)) - MARGIN;
  const top = Math.min(...boxes.map((box) => box.y)) - MARGIN;
  const right = Math.max(...boxes.map((box) => box.x + box.width)) + MARGIN;
  const bottom = Math.max(...boxes.map((box) => box.y + box.height)) + MARGIN;
  return { x: left, y: top, width: right - left, height: bottom - top };
}
