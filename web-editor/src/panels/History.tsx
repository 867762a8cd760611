/** Revisions of a flow: who saved what when, what one changed, and the way back. */

import { useEffect, useState } from "react";
import { api } from "../api/http";
import type { FlowDoc, Revision } from "../api/types";
import { difference } from "../model/merge";
import { activeTab, attempt, useEditor } from "../state/editor";
import { DiffView } from "./DiffView";

export default function History() {
  const tab = useEditor(activeTab);
  const [revisions, setRevisions] = useState<Revision[]>([]);
  const [compared, setCompared] = useState<{ before: FlowDoc; after: FlowDoc; title: string } | null>(null);
  const flow = tab?.id ?? "";
  const base = tab?.base;
  useEffect(() => {
    if (base) void attempt(api.revisions(flow).then((found) => setRevisions(found.reverse())));
    else setRevisions([]);
  }, [flow, base]);
  const compare = async (k: number) => {
    const [after, before] = await Promise.all([
      api.flow(flow, revisions[k]!.revision),
      revisions[k + 1] ? api.flow(flow, revisions[k + 1]!.revision) : null,
    ]);
    if (after.document)
      setCompared({
        before: before?.document ?? { ...after.document, nodes: [], wires: [] },
        after: after.document,
        title: `Revision ${revisions[k]!.revision}`,
      });
  };
  if (!tab) return null;
  return (
    <>
      <ul className="revisions" aria-label="Revisions">
        {revisions.map((one, k) => (
          <li key={one.revision}>
            <strong>{one.revision}</strong> <time>{new Date(one.created_ns / 1e6).toLocaleString("en-GB")}</time>
            <span className="hint"> {one.deleted ? "removed" : one.source}</span>
            {!one.deleted && (
              <span className="row">
                <button onClick={() => void compare(k)}>What changed</button>
                {k > 0 && (
                  <button
                    onClick={() =>
                      void attempt(api.rollback(flow, one.revision), `${flow}: back to revision ${one.revision}`)
                    }
                  >
                    Roll back
                  </button>
                )}
              </span>
            )}
          </li>
        ))}
      </ul>
      {!revisions.length && <p className="hint">Not deployed yet.</p>}
      {compared && (
        <DiffView
          {...compared}
          changes={difference(compared.before, compared.after)}
          onClose={() => setCompared(null)}
        />
      )}
    </>
  );
}
