/** Settings that several nodes share: who uses them, which nobody does. */

import { useState } from "react";
import type { FlowDoc, Json } from "../api/types";
import { putShared, removeShared, sharedOf, type Shared } from "../model/shared";
import { editFlow } from "../state/editor";
import { reveal } from "../state/view";
import { Confirm } from "./Confirm";

export function SharedSettings({ flow }: { flow: FlowDoc }) {
  const shared = sharedOf(flow);
  return (
    <>
      <p className="hint">Made in a node&apos;s form, where it asks for a broker or alike. Part of the flow.</p>
      {!shared.length && <p className="hint">This flow has none.</p>}
      <ul className="messages" aria-label="Shared settings">
        {shared.map((one) => (
          <One key={`${one.name} ${JSON.stringify(one.config)}`} flow={flow.id} shared={one} />
        ))}
      </ul>
    </>
  );
}

function One({ flow, shared }: { flow: string; shared: Shared }) {
  const [text, setText] = useState(() => JSON.stringify(shared.config, null, 2));
  const [wrong, setWrong] = useState("");
  const take = () => {
    try {
      const config = JSON.parse(text) as Record<string, Json>;
      if (!config || typeof config !== "object" || Array.isArray(config)) throw new Error("a map of fields is needed");
      setWrong("");
      if (JSON.stringify(config) !== JSON.stringify(shared.config))
        editFlow((doc) => putShared(doc, shared.name, config));
    } catch (error) {
      setWrong((error as Error).message);
    }
  };
  return (
    <li>
      <strong>{shared.name}</strong> <span className="hint">{shared.type}</span>
      {!shared.users.length && <b className="unused">unused</b>}
      {shared.note && <p className="hint">{shared.note}</p>}
      <div>
        {shared.users.map((user) => (
          <button key={user} className="node-link" onClick={() => reveal(flow, user.split(":")[0]!)}>
            {user}
          </button>
        ))}
      </div>
      <details>
        <summary>Fields</summary>
        <textarea
          aria-label={`Fields of ${shared.name}`}
          rows={Math.min(12, text.split("\n").length)}
          value={text}
          spellCheck={false}
          aria-invalid={!!wrong}
          onChange={(event) => setText(event.target.value)}
          onBlur={take}
        />
        {wrong && <p className="field-error">not taken: {wrong}</p>}
      </details>
      {!shared.users.length && (
        <Confirm
          label={`Delete ${shared.name}`}
          question={`Delete ${shared.name}?`}
          act={() => editFlow((doc) => removeShared(doc, shared.name))}
        />
      )}
    </li>
  );
}
