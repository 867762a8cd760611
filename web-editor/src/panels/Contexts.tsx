/** Values that live between messages: of the selected node, of the flow, of all flows. */

import { useCallback, useEffect, useState } from "react";
import { api, Refused } from "../api/http";
import type { Json } from "../api/types";
import { nodeOf, useEditor, attempt, type Tab } from "../state/editor";
import { Confirm } from "./Confirm";
import { Tree } from "./Tree";

type Values = Record<string, Json>;

interface Source {
  title: string;
  none: string;
  read: () => Promise<Values>;
  remove: (key: string) => Promise<unknown>;
  key: string;
  warning?: string;
}

export function Contexts({ tab }: { tab: Tab }) {
  const id = useEditor((state) => (state.selected.nodes.size === 1 ? [...state.selected.nodes][0] : undefined));
  const node = useEditor((state) => (id ? nodeOf(state, id) : undefined));
  if (!tab.base) return <p className="hint">The flow was never deployed: nothing is kept for it yet.</p>;
  const sources: Source[] = [
    {
      key: `flow ${tab.id}`,
      title: `Flow ${tab.doc.name || tab.id}`,
      none: "Its nodes share nothing.",
      read: () => api.context(tab.id),
      remove: (key) => api.removeContext(tab.id, key),
    },
    {
      key: "global",
      title: "Global",
      none: "Flows share nothing.",
      read: () => api.context(null),
      remove: (key) => api.removeContext(null, key),
    },
  ];
  if (node)
    sources.unshift({
      key: `node ${tab.id} ${node.id}`,
      title: `Node ${node.name || node.id}`,
      none: "It keeps nothing.",
      read: () => api.nodeState(tab.id, node.id),
      remove: (key) => api.removeState(tab.id, node.id, key),
      warning: "Its process is replaced, and goes on from there.",
    });
  return (
    <>
      {!node && <p className="hint">Select a node for its own.</p>}
      {sources.map((one) => (
        <Scope key={one.key} source={one} />
      ))}
    </>
  );
}

function Scope({ source }: { source: Source }) {
  const [values, setValues] = useState<Values | null>(null);
  const [wrong, setWrong] = useState("");
  const read = useCallback(async () => {
    try {
      setValues(await source.read());
      setWrong("");
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      setWrong(error.message);
    }
  }, [source.key]);
  useEffect(() => void read(), [read]);
  const keys = Object.keys(values ?? {}).sort();
  return (
    <section className="scope" aria-label={source.title}>
      <h3>
        {source.title}
        <button onClick={() => void read()} aria-label={`Read ${source.title} again`} title="Read again">
          ↻
        </button>
      </h3>
      {wrong && <p className="field-error">{wrong}</p>}
      {values && !keys.length && <p className="hint">{source.none}</p>}
      <ul className="messages">
        {keys.map((key) => (
          <li key={key}>
            <Tree name={key} path={key} value={values![key]!} />
            <Confirm
              label={`Delete ${key}`}
              question={`Delete ${key}? ${source.warning ?? ""}`}
              act={() => attempt(source.remove(key), `${key}: deleted`).then(read)}
            />
          </li>
        ))}
      </ul>
    </section>
  );
}
