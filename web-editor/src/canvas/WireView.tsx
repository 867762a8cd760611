/** A wire: the colour of its type, and live its rate, how full it is, what it dropped. */

import { BaseEdge, getBezierPath, type EdgeProps } from "@xyflow/react";
import { memo, useState } from "react";
import { useShallow } from "zustand/react/shallow";
import { api } from "../api/http";
import type { WireDef } from "../api/types";
import { duration, rate, together, wireHealth } from "../model/health";
import { useLive } from "../state/live";
import { WireLabel } from "./labels";
import { typeColour } from "./look";

export interface WireData extends Record<string, unknown> {
  flow: string;
  def: WireDef;
  /** The keys of the wires that run where it is drawn, and where the first of them begins, as the runtime calls it. */
  live: string[];
  from: string | null;
  type: string;
}

export const WireView = memo(function WireView(props: EdgeProps & { data: WireData }) {
  const { data, selected, sourceX, sourceY, targetX, targetY, sourcePosition, targetPosition } = props;
  const [path, x, y] = getBezierPath({ sourceX, sourceY, targetX, targetY, sourcePosition, targetPosition });
  const now = useLive(useShallow((state) => together(data.live, state.wires)));
  const [last, setLast] = useState<string | null>(null);
  const health = wireHealth(now);
  const share = now ? Math.min(1, now.queued / now.window) : 0;
  const look = async () => {
    if (!data.from) return;
    const [node, port] = data.from.split(".") as [string, string];
    const message = await api.last(data.flow, node, port).catch(() => null);
    setLast(message ? JSON.stringify(message.payload).slice(0, 300) : "nothing was sent yet");
  };
  const classes = ["wire", `is-${data.def.delivery ?? "reliable"}`, `is-${health}`, data.def.disabled && "is-off"];
  return (
    <>
      <BaseEdge
        id={props.id}
        path={path}
        interactionWidth={18}
        className={[...classes, selected && "is-selected"].filter(Boolean).join(" ")}
        style={{ stroke: typeColour(data.type) }}
      />
      {now && !data.def.disabled && (now.rateHz > 0 || now.queued > 0 || now.drops > 0) && (
        <WireLabel>
          <div
            className={`wire-label nodrag nopan is-${health}`}
            style={{ transform: `translate(-50%, -50%) translate(${x}px, ${y}px)` }}
            onMouseEnter={() => void look()}
            onMouseLeave={() => setLast(null)}
            data-wire={`${data.def.from}>${data.def.to}`}
          >
            <span>{rate(now.rateHz)}</span>
            {share > 0.02 && (
              <span className="queue" title={`${now.queued} of ${now.window} wait`}>
                <i style={{ width: `${share * 100}%` }} />
              </span>
            )}
            {now.ageS > 1 && <span title="age of the oldest message">{duration(now.ageS)}</span>}
            {now.drops > 0 && <span className="drops">−{now.drops}</span>}
            {last !== null && <pre className="last">{last}</pre>}
          </div>
        </WireLabel>
      )}
    </>
  );
});
