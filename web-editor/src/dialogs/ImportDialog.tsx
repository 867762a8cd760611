/** JSON from a file or pasted: says what it is and which node types are missing before anything changes. */

import { useEffect, useState } from "react";
import { api, Refused, type Finding } from "../api/http";
import { takeRead } from "../chrome/transfer";
import { missingOf, read, type Read } from "../model/clip";
import { openDialog, useEditor } from "../state/editor";
import { Dialog } from "./Dialog";

const TITLES: Record<Finding["kind"], string> = {
  "not turned": "could not be turned; each stands at its place as a disabled node",
  setting: "settings have no counterpart",
  differs: "work, but not as they did",
};

interface Found {
  read: Read;
  findings: Finding[];
}

export function ImportDialog({ text: given }: { text: string }) {
  const types = useEditor((state) => state.types);
  const [text, setText] = useState(given);
  const [name, setName] = useState("");
  const [found, setFound] = useState<Found | null>(null);
  const [wrong, setWrong] = useState("");
  const [into, setInto] = useState<"new" | "open">("new");

  useEffect(() => {
    let isOld = false;
    setFound(null);
    setWrong("");
    if (!text.trim()) return;
    understand(text, name).then(
      (one) => !isOld && setFound(one),
      (error: Error) => !isOld && setWrong(error.message),
    );
    return () => {
      isOld = true;
    };
  }, [text, name, types]);

  const choose = async (file: File | undefined) => {
    if (!file) return;
    setName(file.name.replace(/\.json$/, ""));
    setText(await file.text());
  };
  return (
    <Dialog
      title="Import"
      done="Import"
      canBeDone={!!found}
      onDone={() => {
        takeRead(found!.read, into);
        openDialog(null);
      }}
    >
      <label className="field">
        File: flows or nodes of this editor, or an export of Node-RED
        <input type="file" accept=".json,application/json" onChange={(event) => void choose(event.target.files?.[0])} />
      </label>
      <label className="field">
        Or paste JSON
        <textarea rows={8} spellCheck={false} value={text} onChange={(event) => setText(event.target.value)} />
      </label>
      {wrong && (
        <p className="field-error" role="alert">
          {wrong}
        </p>
      )}
      {found && <Summary found={found} />}
      {found && !found.read.clip && (
        <fieldset className="field">
          <legend>Where to</legend>
          <label className="is-line">
            <input type="radio" name="into" checked={into === "new"} onChange={() => setInto("new")} /> flows of their
            own
          </label>
          <label className="is-line">
            <input type="radio" name="into" checked={into === "open"} onChange={() => setInto("open")} /> into what is
            open
          </label>
        </fieldset>
      )}
    </Dialog>
  );
}

function Summary({ found: { read: found, findings } }: { found: Found }) {
  const tabs = useEditor((state) => state.tabs);
  const count = (nodes: unknown[] | undefined) => `${nodes?.length ?? 0} nodes`;
  return (
    <div className="import-summary" aria-label="What will be imported">
      <ul>
        {found.clip && <li>{count(found.clip.nodes)}, for what is open</li>}
        {found.flows.map((flow) => (
          <li key={flow.id}>
            flow {flow.name || flow.id}: {count(flow.nodes)}
            {tabs[flow.id] && <small> (the id {flow.id} is taken: it gets another)</small>}
          </li>
        ))}
      </ul>
      {found.missing.length > 0 && (
        <>
          <h3>Node types that are not installed</h3>
          <ul className="field-error">
            {found.missing.map(([type, times]) => (
              <li key={type}>
                {type}, {times === 1 ? "once" : `${times} times`}
              </li>
            ))}
          </ul>
        </>
      )}
      {(Object.keys(TITLES) as Finding["kind"][]).map((kind) => {
        const some = findings.filter((one) => one.kind === kind);
        if (!some.length) return null;
        return (
          <details key={kind} open={kind === "not turned"}>
            <summary>
              {some.length} {TITLES[kind]}
            </summary>
            <ul>
              {some.map((one, k) => (
                <li key={k}>
                  <strong>{one.name || one.node || one.flow}</strong> ({one.type}): {one.why}
                  {one.instead && <em>; {one.instead}</em>}
                </li>
              ))}
            </ul>
          </details>
        );
      })}
    </div>
  );
}

async function understand(text: string, name: string): Promise<Found> {
  const { types } = useEditor.getState();
  const found = read(text, types);
  if (found.kind !== "nodered") return { read: found, findings: [] };
  try {
    const { flows, findings } = await api.fromNodeRed(text, name);
    return { read: { kind: "flows", flows, clip: null, missing: missingOf(flows, types) }, findings };
  } catch (error) {
    if (error instanceof Refused && error.advice) throw new Error(`${error.message}. ${error.advice}`);
    throw error;
  }
}
