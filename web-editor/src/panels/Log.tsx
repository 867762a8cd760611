/** What nodes print and what happens to them: of the selected node with what came before, else of all flows. */

import { useEffect, useState } from "react";
import { api } from "../api/http";
import type { LogLine } from "../api/types";
import { attempt, useEditor } from "../state/editor";
import { useLive } from "../state/live";
import { clockTime } from "./clockTime";

const millis = (line: LogLine) => (typeof line.ts === "number" ? line.ts / 1e6 : Date.parse(String(line.ts)));

/** What came while the earlier lines were asked for is among them. */
const isSame = (a: LogLine, b: LogLine) =>
  a.event === b.event && a.detail === b.detail && Math.abs(millis(a) - millis(b)) < 50;

export function Log() {
  const flow = useEditor((state) => state.active);
  const selected = useEditor((state) => [...state.selected.nodes][0]);
  const lines = useLive((now) => now.logs);
  const [earlier, setEarlier] = useState<LogLine[]>([]);
  useEffect(() => {
    setEarlier([]);
    if (selected)
      void attempt(
        api
          .logs(flow, selected)
          .then((found) =>
            setEarlier(found.map((one) => ({ ...one, flow, node: selected, event: one.event ?? one.text }))),
          ),
      );
  }, [flow, selected]);
  const own = lines.filter((one) => one.flow === flow && one.node === selected);
  const shown = selected ? [...earlier, ...own.filter((one) => !earlier.some((two) => isSame(one, two)))] : lines;
  return (
    <>
      <p className="hint">{selected ? `${flow}.${selected}` : "All flows; select a node for its own log"}</p>
      {!shown.length && <p className="hint">Nothing was logged.</p>}
      <ul className="log" aria-label="Log">
        {shown.slice(-200).map((one, k) => (
          <li key={k} className={`is-${one.level}`}>
            <time>{clockTime(millis(one) * 1e6)}</time> {!selected && `${one.node}: `}
            {one.event} {one.detail}
          </li>
        ))}
      </ul>
    </>
  );
}
