/** The palette: node types by category, a filter, and what is closed stays closed. */

import { useDeferredValue, useMemo, useState } from "react";
import { DRAGGED } from "../canvas/Canvas";
import { Icon } from "../canvas/Icon";
import { CATEGORIES } from "../canvas/look";
import { fitness } from "../model/search";
import { usesOf } from "../model/subflows";
import { activeTab, keep, openDialog, useEditor } from "../state/editor";
import { openSubflow } from "../state/view";

export function Palette() {
  const types = useDeferredValue(useEditor((state) => state.types)); // the canvas first
  const subflows = useEditor((state) => state.tabs[state.active]?.doc.subflows);
  const unusable = useEditor((state) => state.unusable);
  const [filter, setFilter] = useState("");
  const [closed, setClosed] = useState<string[]>(() => JSON.parse(localStorage.getItem("flowcore.closed") ?? "[]"));
  const categories = useMemo(() => {
    const found: Record<string, { type: string; title: string; icon: string; tip: string; off: boolean }[]> = {};
    for (const type of Object.values(types)) {
      if (filter && !fitness(type.title, filter) && !fitness(type.type, filter)) continue;
      const tip = type.missing ? `not installed: ${type.missing}` : (type.doc.split("\n")[0] ?? "");
      (found[type.category || "other"] ??= []).push({
        type: type.type,
        title: type.title,
        icon: type.icon,
        tip,
        off: !!type.missing,
      });
    }
    for (const [name, subflow] of Object.entries(subflows ?? {}))
      if (!filter || fitness(name, filter) || fitness(subflow.name ?? "", filter))
        (found.subflow ??= []).push({
          type: `subflow:${name}`,
          title: subflow.name || name,
          icon: "workflow",
          tip: subflow.description ?? "",
          off: false,
        });
    const place = (name: string) => (CATEGORIES.includes(name) ? CATEGORIES.indexOf(name) : CATEGORIES.length);
    return Object.entries(found).sort(([a], [b]) => place(a) - place(b) || a.localeCompare(b));
  }, [types, subflows, filter]);

  const toggle = (name: string) => {
    const next = closed.includes(name) ? closed.filter((one) => one !== name) : [...closed, name];
    setClosed(next);
    keep("closed", next);
  };
  return (
    <aside className="palette" aria-label="Palette">
      <input
        type="search"
        placeholder="Filter nodes"
        aria-label="Filter nodes"
        value={filter}
        onChange={(event) => setFilter(event.target.value)}
      />
      {unusable.length > 0 && (
        <details className="palette-unusable">
          <summary>
            {unusable.length === 1 ? "1 package or file" : `${unusable.length} packages or files`} can’t be used
          </summary>
          {unusable.map((why) => (
            <p key={why}>{why}</p>
          ))}
        </details>
      )}
      <div className="palette-list">
        {categories.map(([name, entries]) => (
          <section key={name}>
            <button
              className="palette-category"
              aria-expanded={!closed.includes(name) || !!filter}
              onClick={() => toggle(name)}
            >
              {name}
            </button>
            {(!closed.includes(name) || filter) &&
              entries.map((entry) => (
                <div
                  key={entry.type}
                  className={entry.off ? "palette-node is-off" : "palette-node"}
                  draggable
                  title={`${entry.type}: ${entry.tip}`}
                  data-type={entry.type}
                  onDoubleClick={() => name === "subflow" && openSubflow(entry.type.slice(8))}
                  onDragStart={(event) => {
                    event.dataTransfer.setData(DRAGGED, entry.type);
                    event.dataTransfer.effectAllowed = "copy";
                  }}
                >
                  <Icon name={entry.icon} title={entry.title} category={name} />
                  {entry.title}
                  {name === "subflow" && <SubflowTools id={entry.type.slice(8)} title={entry.title} />}
                </div>
              ))}
          </section>
        ))}
        {!categories.length && <p className="hint">Nothing fits “{filter}”.</p>}
      </div>
    </aside>
  );
}

function SubflowTools({ id, title }: { id: string; title: string }) {
  const uses = useEditor((state) => usesOf(activeTab(state)!.doc, id).length);
  return (
    <span className="palette-tools">
      <small title={uses === 1 ? "used once" : `used ${uses} times`}>{uses}</small>
      <button aria-label={`Open ${title}`} title="Open (double-click)" onClick={() => openSubflow(id)}>
        ✎
      </button>
      <button
        aria-label={`Settings of ${title}`}
        title="Parameters, name, delete"
        onClick={() => openDialog({ kind: "subflow", id })}
      >
        ⋯
      </button>
    </span>
  );
}
