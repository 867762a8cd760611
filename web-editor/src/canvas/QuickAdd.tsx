/** A field at the pointer: type a few letters, Enter puts the node there. */

import { useMemo, useState } from "react";
import type { Point } from "../model/flow";
import { fitness } from "../model/search";
import type { FlowDoc } from "../api/types";
import { activeTab, useEditor } from "../state/editor";
import { categoryColour } from "./look";

const MOST = 8;

export function QuickAdd(props: { screen: Point; onPick: (type: string) => void; onClose: () => void }) {
  const types = useEditor((state) => state.types);
  const subflows = useEditor((state) => activeTab(state)?.doc.subflows);
  const [typed, setTyped] = useState("");
  const [chosen, setChosen] = useState(0);
  const found = useMemo(
    () =>
      [...Object.values(types), ...asTypes(subflows)]
        .map((type) => ({ type, score: Math.max(fitness(type.title, typed), fitness(type.type, typed)) }))
        .filter((one) => one.score > 0)
        .sort((a, b) => b.score - a.score || a.type.title.localeCompare(b.type.title))
        .slice(0, MOST),
    [types, subflows, typed],
  );
  return (
    <div
      className="quick-add"
      style={{ left: props.screen.x, top: props.screen.y }}
      role="dialog"
      aria-label="Add a node"
    >
      <input
        autoFocus
        value={typed}
        placeholder="Add a node"
        aria-label="Node type"
        onChange={(event) => {
          setTyped(event.target.value);
          setChosen(0);
        }}
        onBlur={props.onClose}
        onKeyDown={(event) => {
          event.stopPropagation();
          if (event.key === "Escape") props.onClose();
          else if (event.key === "ArrowDown") setChosen((k) => Math.min(k + 1, found.length - 1));
          else if (event.key === "ArrowUp") setChosen((k) => Math.max(k - 1, 0));
          else if (event.key === "Enter" && found[chosen]) props.onPick(found[chosen].type.type);
        }}
      />
      <ul role="listbox">
        {found.map(({ type }, k) => (
          <li
            key={type.type}
            role="option"
            aria-selected={k === chosen}
            onMouseDown={(event) => {
              event.preventDefault();
              props.onPick(type.type);
            }}
          >
            <i style={{ background: categoryColour(type.category) }} />
            {type.title} <small>{type.type}</small>
          </li>
        ))}
      </ul>
    </div>
  );
}

const asTypes = (subflows: FlowDoc["subflows"]) =>
  Object.entries(subflows ?? {}).map(([name, one]) => ({
    type: `subflow:${name}`,
    title: one.name || name,
    category: "subflow",
  }));
