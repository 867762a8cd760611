/** The dots behind a flow. Moved as a picture while one pans, painted anew only when the zoom changes. */

import { useStore } from "@xyflow/react";
import { GRID } from "../model/flow";

export function Grid() {
  const [x, y, zoom] = useStore((state) => state.transform);
  const gap = GRID * zoom * (zoom < 0.5 ? 4 : 1); // far away every fourth would still be a fog
  const at = (value: number) => (((value % gap) + gap) % gap) - gap;
  return (
    <div
      className="grid-dots"
      style={{
        transform: `translate(${at(x)}px, ${at(y)}px)`,
        backgroundSize: `${gap}px ${gap}px`,
        inset: `0 -${gap}px -${gap}px 0`,
      }}
    />
  );
}
