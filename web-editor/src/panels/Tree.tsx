/** A value as a tree that opens, with what can be copied: its path and itself. */

import { useState } from "react";
import type { Json } from "../api/types";
import { bytesInWords, imageOf, isBytes, tensorInWords, tensorOf } from "../model/values";
import { toast } from "../state/editor";
import { Picture } from "./Picture";

const MOST = 100;
const INDENT = 2;

function summary(value: Json): string {
  if (Array.isArray(value)) return `list [${value.length}]`;
  if (value && typeof value === "object") {
    const tensor = tensorOf(value);
    if (tensor) return tensorInWords(tensor);
    const image = imageOf(value);
    if (image) return `${image.format}, ${bytesInWords(image.size_bytes)}`;
    if ("$bytes" in value) return `bytes, ${bytesInWords(Math.floor((String(value.$bytes).length * 3) / 4))}`;
    return `map {${Object.keys(value).slice(0, 4).join(", ")}${Object.keys(value).length > 4 ? ", …" : ""}}`;
  }
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

/** Of what is a value in itself, nothing opens: a tensor's values are shown where there are some. */
function partsOf(value: Json): [string, Json][] {
  if (!value || typeof value !== "object") return [];
  if (Array.isArray(value)) return value.map((one, k) => [String(k), one]);
  const tensor = tensorOf(value);
  if (tensor) return tensor.values === undefined ? [] : [["values", tensor.values]];
  return imageOf(value) || isBytes(value) ? [] : Object.entries(value);
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
  const parts = partsOf(value);
  const copy = (text: string, what: string) =>
    void navigator.clipboard?.writeText(text).then(
      () => toast("note", `${what} copied`),
      () => toast("error", "The browser does not let the clipboard be written"),
    );
  return (
    <div className="tree">
      <div className="tree-row">
        {parts.length > 0 ? (
          <button
            type="button"
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
          <button title="Copy the path" type="button" onClick={() => copy(path, `path ${path}`)}>
            path
          </button>
          <button
            title="Copy the value"
            type="button"
            onClick={() => copy(typeof value === "string" ? value : JSON.stringify(value, null, INDENT), "value")}
          >
            copy
          </button>
        </span>
      </div>
      <Picture value={value} />
      {isOpen && (
        <div className="tree-parts">
          {parts.slice(0, MOST).map(([key, one]) => (
            <Tree key={key} name={key} value={one} path={Array.isArray(value) ? `${path}[${key}]` : step(path, key)} />
          ))}
          {parts.length > MOST && <p className="hint">… and {parts.length - MOST} more</p>}
        </div>
      )}
    </div>
  );
}

/** One step of a path as message paths are written: `.name`, or `["any name"]`. */
const step = (path: string, key: string) =>
  /^[A-Za-z_][\w]*$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`;
