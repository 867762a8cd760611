/** A value as a tree that opens, with what can be copied: its path and itself. */

import { useState } from "react";
import type { Json } from "../api/types";

const MOST = 100;

function summary(value: Json): string {
  if (Array.isArray(value)) return `list [${value.length}]`;
  if (value && typeof value === "object") {
    const tensor = (value as any).$tensor;
    if (tensor) return `tensor ${tensor.dtype} [${(tensor.shape ?? []).join(", ")}]`;
    if ("$bytes" in value) return `bytes, ${Math.floor((String(value.$bytes).length * 3) / 4)} long`;
    return `map {${Object.keys(value).slice(0, 4).join(", ")}${Object.keys(value).length > 4 ? ", …" : ""}}`;
  }
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

export function Tree({
  value,
  path = "payload",
  name,
  open = false,
}: {
  value: Json;
  path?: string;
  name?: string;
  open?: boolean;
}) {
  const [isOpen, setOpen] = useState(open);
  const parts: [string, Json][] =
    value && typeof value === "object"
      ? Array.isArray(value)
        ? value.map((one, k) => [String(k), one])
        : Object.entries(value)
      : [];
  const copy = (text: string) => void navigator.clipboard?.writeText(text);
  return (
    <div className="tree">
      <div className="tree-row">
        {parts.length > 0 ? (
          <button
            className="tree-open"
            aria-expanded={isOpen}
            aria-label={`Open ${path}`}
            onClick={() => setOpen(!isOpen)}
          >
            {isOpen ? "▾" : "▸"}
          </button>
        ) : (
          <span className="tree-open" />
        )}
        {name !== undefined && <span className="tree-name">{name}:</span>}
        <span className={`tree-value is-${value === null ? "null" : Array.isArray(value) ? "list" : typeof value}`}>
          {summary(value)}
        </span>
        <span className="tree-copy">
          <button title="Copy the path" onClick={() => copy(path)}>
            path
          </button>
          <button
            title="Copy the value"
            onClick={() => copy(typeof value === "string" ? value : JSON.stringify(value))}
          >
            copy
          </button>
        </span>
      </div>
      {isOpen && (
        <div className="tree-parts">
          {parts.slice(0, MOST).map(([key, one]) => (
            <Tree key={key} name={key} value={one} path={Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`} />
          ))}
          {parts.length > MOST && <p className="hint">… and {parts.length - MOST} more</p>}
        </div>
      )}
    </div>
  );
}
