/** What lies over the canvas for a moment: toasts, the command palette, search, the key map, a stale deploy. */

import { useState } from "react";
import { fitness, search } from "../model/search";
import { difference, merge } from "../model/merge";
import { DiffView } from "../panels/DiffView";
import { settle } from "../state/deploy";
import { dismiss, useEditor } from "../state/editor";
import { reveal } from "../state/view";
import { actions } from "./actions";

export function Toasts() {
  const toasts = useEditor((state) => state.toasts);
  return (
    <ul className="toasts" aria-live="polite">
      {toasts.map((one) => (
        <li key={one.id} className={`is-${one.kind}`}>
          <strong>{one.title}</strong>
          {one.lines.slice(0, 8).map((line, k) => (
            <p key={k}>{line}</p>
          ))}
          <span className="row">
            {one.node && <button onClick={() => reveal(one.node!.flow, one.node!.node)}>Show {one.node.node}</button>}
            <button onClick={() => dismiss(one.id)}>Close</button>
          </span>
        </li>
      ))}
    </ul>
  );
}

export function Finder({ kind, onClose }: { kind: "commands" | "search"; onClose: () => void }) {
  const tabs = useEditor((state) => state.tabs);
  const [typed, setTyped] = useState("");
  const [chosen, setChosen] = useState(0);
  const found =
    kind === "commands"
      ? actions
          .map((action) => ({
            label: action.name,
            hint: action.keys ?? "",
            score: fitness(action.name, typed),
            run: action.run,
          }))
          .filter((one) => one.score > 0)
          .sort((a, b) => b.score - a.score)
      : search(
          Object.values(tabs).map((tab) => tab.doc),
          typed,
          (flow, node) => !!tabs[flow]?.problems[node],
        ).map((hit) => ({
          label: hit.label,
          hint: `${hit.flow}.${hit.node}`,
          score: 1,
          run: () => reveal(hit.flow, hit.node),
        }));
  const pick = (k: number) => {
    const one = found[k];
    if (!one) return;
    if (kind === "commands") onClose();
    one.run();
  };
  return (
    <div className="veil" onMouseDown={(event) => event.target === event.currentTarget && onClose()}>
      <div className="finder" role="dialog" aria-label={kind === "commands" ? "All actions" : "Search"}>
        <input
          autoFocus
          aria-label={kind === "commands" ? "Action" : "Search for"}
          placeholder={kind === "commands" ? "What to do" : "Any text, type:core/switch, is:unused, is:invalid"}
          value={typed}
          onChange={(event) => {
            setTyped(event.target.value);
            setChosen(0);
          }}
          onKeyDown={(event) => {
            event.stopPropagation();
            if (event.key === "Escape") onClose();
            else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
              const next = Math.max(0, Math.min(found.length - 1, chosen + (event.key === "ArrowDown" ? 1 : -1)));
              setChosen(next);
              if (kind === "search") found[next]?.run();
            } else if (event.key === "Enter") pick(chosen);
          }}
        />
        <ul role="listbox">
          {found.slice(0, 60).map((one, k) => (
            <li key={`${one.label}-${k}`} role="option" aria-selected={k === chosen} onMouseDown={() => pick(k)}>
              {one.label} <small>{one.hint}</small>
            </li>
          ))}
        </ul>
      </div>
    </div>
  );
}

export function Keys({ onClose }: { onClose: () => void }) {
  return (
    <div className="veil" onMouseDown={onClose}>
      <div className="finder" role="dialog" aria-label="Keys">
        <h2>Keys</h2>
        <table>
          <tbody>
            {[
              ...actions.filter((one) => one.keys),
              { name: "All actions", keys: "Ctrl+Shift+P" },
              { name: "Search", keys: "Ctrl+F" },
              { name: "Add a node at the pointer", keys: "double-click, Ctrl+click" },
              { name: "Save a form", keys: "Ctrl+Enter" },
              { name: "Cancel a form", keys: "Escape" },
            ].map((one) => (
              <tr key={one.name}>
                <td>{one.name}</td>
                <td>
                  <kbd>{one.keys}</kbd>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

export function Stale() {
  const stale = useEditor((state) => state.stale);
  const tab = useEditor((state) => (stale ? state.tabs[stale.flow] : undefined));
  if (!stale || !tab) return null;
  const merged = merge(tab.deployed ?? stale.theirs, tab.doc, stale.theirs);
  return (
    <DiffView
      title={`${stale.flow} was deployed by somebody else (revision ${stale.revision})`}
      before={stale.theirs}
      sides={["as it runs now", "after a merge"]}
      onEscape={() => void settle("cancel")}
      after={merged.flow}
      changes={difference(stale.theirs, merged.flow)}
    >
      {merged.conflicts.length > 0 && (
        <span className="field-error">both changed {merged.conflicts.join(", ")}: a merge takes yours</span>
      )}
      <button className="is-main" onClick={() => void settle("merge")}>
        Merge
      </button>
      <button onClick={() => void settle("overwrite")}>Overwrite theirs</button>
      <button onClick={() => void settle("theirs")}>Take theirs</button>
      <button onClick={() => void settle("cancel")}>Cancel</button>
    </DiffView>
  );
}
