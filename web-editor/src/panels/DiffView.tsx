/** Two documents of a flow side by side: what was added, removed and changed, on small canvases and in words. */

import { useEffect, type ReactNode } from "react";
import type { FlowDoc, NodeDef } from "../api/types";
import { nodesOf, placeOf, wireKey, wiresOf } from "../model/flow";
import type { Difference } from "../model/merge";

interface Props {
  before: FlowDoc;
  after: FlowDoc;
  title: string;
  changes: Difference;
  sides?: [string, string];
  onClose?: () => void;
  onEscape?: () => void;
  children?: ReactNode;
}

export function DiffView({
  before,
  after,
  title,
  changes,
  sides = ["before", "after"],
  onClose,
  onEscape = onClose,
  children,
}: Props) {
  useEffect(() => {
    const heed = (event: KeyboardEvent) => event.key === "Escape" && onEscape?.();
    window.addEventListener("keydown", heed);
    return () => window.removeEventListener("keydown", heed);
  }, [onEscape]);
  const old = new Map(nodesOf(before).map((node) => [node.id, node]));
  return (
    <div className="veil" role="dialog" aria-label={title}>
      <div className="diff">
        <header>
          <h2>{title}</h2>
          {children}
          {onClose && <button onClick={onClose}>Close</button>}
        </header>
        <div className="diff-sides">
          <Side
            flow={before}
            title={sides[0]}
            marks={(id) => (changes.removed.has(id) ? "removed" : changes.changed.has(id) ? "changed" : "")}
            wires={changes.wiresRemoved}
          />
          <Side
            flow={after}
            title={sides[1]}
            marks={(id) => (changes.added.has(id) ? "added" : changes.changed.has(id) ? "changed" : "")}
            wires={changes.wiresAdded}
          />
        </div>
        <ul className="diff-list">
          {[...changes.added].map((id) => (
            <li key={id} className="is-added">
              + node {id}
            </li>
          ))}
          {[...changes.removed].map((id) => (
            <li key={id} className="is-removed">
              − node {id}
            </li>
          ))}
          {[...changes.changed].map((id) => (
            <li key={id} className="is-changed">
              node {id}:{" "}
              {fieldsOf(
                old.get(id)!,
                nodesOf(after).find((node) => node.id === id)!,
              )}
            </li>
          ))}
          {[...changes.wiresAdded].map((key) => (
            <li key={key} className="is-added">
              + wire {key.replace(">", " → ")}
            </li>
          ))}
          {[...changes.wiresRemoved].map((key) => (
            <li key={key} className="is-removed">
              − wire {key.replace(">", " → ")}
            </li>
          ))}
        </ul>
      </div>
    </div>
  );
}

function fieldsOf(before: NodeDef, after: NodeDef): string {
  const flat = (node: NodeDef) =>
    ({
      ...node,
      ui: undefined,
      config: undefined,
      ...Object.fromEntries(Object.entries(node.config ?? {}).map(([k, v]) => [`config.${k}`, v])),
    }) as Record<string, unknown>;
  const [a, b] = [flat(before), flat(after)];
  const short = (value: unknown) => (value === undefined ? "nothing" : JSON.stringify(value).slice(0, 60));
  return [...new Set([...Object.keys(a), ...Object.keys(b)])]
    .filter((key) => JSON.stringify(a[key]) !== JSON.stringify(b[key]))
    .map((key) => `${key} ${short(a[key])} → ${short(b[key])}`)
    .join("; ");
}

function Side({
  flow,
  title,
  marks,
  wires,
}: {
  flow: FlowDoc;
  title: string;
  marks: (id: string) => string;
  wires: Set<string>;
}) {
  const places = new Map(nodesOf(flow).map((node) => [node.id, placeOf(node)]));
  const all = [...places.values()];
  const [left, top] = [Math.min(0, ...all.map((p) => p.x)) - 20, Math.min(0, ...all.map((p) => p.y)) - 20];
  const [right, bottom] = [Math.max(400, ...all.map((p) => p.x + 180)), Math.max(200, ...all.map((p) => p.y + 60))];
  return (
    <figure>
      <figcaption>{title}</figcaption>
      <svg viewBox={`${left} ${top} ${right - left} ${bottom - top}`} role="img" aria-label={`the flow ${title}`}>
        {wiresOf(flow).map((wire) => {
          const [a, b] = [places.get(wire.from.split(".")[0]!), places.get(wire.to.split(".")[0]!)];
          if (!a || !b) return null;
          const d = `M${a.x + 160},${a.y + 17} C${a.x + 220},${a.y + 17} ${b.x - 60},${b.y + 17} ${b.x},${b.y + 17}`;
          return <path key={wireKey(wire)} d={d} className={wires.has(wireKey(wire)) ? "is-marked" : ""} />;
        })}
        {nodesOf(flow).map((node) => (
          <g
            key={node.id}
            transform={`translate(${placeOf(node).x} ${placeOf(node).y})`}
            className={marks(node.id) && `is-${marks(node.id)}`}
          >
            <rect width={160} height={34} rx={5} />
            <text x={10} y={21}>
              {(node.name || node.id).slice(0, 20)}
            </text>
          </g>
        ))}
      </svg>
    </figure>
  );
}
