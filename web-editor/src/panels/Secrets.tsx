/** Secrets by name: set, replaced, deleted, and never shown. */

import { useCallback, useEffect, useMemo, useState } from "react";
import { api } from "../api/http";
import { secretsUsed } from "../model/shared";
import { attempt, useEditor } from "../state/editor";
import { Confirm } from "./Confirm";

const NAME = /^[A-Za-z0-9_-]{1,128}$/;

export function Secrets() {
  const tabs = useEditor((state) => state.tabs);
  const [names, setNames] = useState<string[]>([]);
  const [name, setName] = useState("");
  const [value, setValue] = useState("");
  const read = useCallback(() => attempt(api.secrets().then(setNames)), []);
  useEffect(() => void read(), [read]);
  const used = useMemo(() => secretsUsed(Object.values(tabs).map((tab) => tab.doc)), [tabs]);
  const missing = [...used.keys()].filter((one) => !names.includes(one)).sort();
  const wrong = name && !NAME.test(name) ? "letters, digits, '_' and '-'" : "";
  const uses = (one: string) => (used.get(one)?.length ? `used by ${used.get(one)!.join(", ")}` : "unused");
  return (
    <>
      <p className="hint">Their values are encrypted in the data folder; nobody is shown them again.</p>
      <ul className="messages" aria-label="Secrets">
        {names.map((one) => (
          <li key={one}>
            {one} <span className="hint">{uses(one)}</span>
            <span className="row">
              <button className="quiet" onClick={() => setName(one)}>
                replace
              </button>
              <Confirm
                label={`Delete ${one}`}
                question={`Delete ${one}? ${used.get(one)?.length ? "Nodes that use it fail at their next start." : ""}`}
                act={() => attempt(api.removeSecret(one), `${one}: deleted`).then(read)}
              />
            </span>
          </li>
        ))}
        {missing.map((one) => (
          <li key={one} className="is-error">
            {one} <span className="field-error">not set, {uses(one)}</span>
            <button className="quiet" onClick={() => setName(one)}>
              set
            </button>
          </li>
        ))}
      </ul>
      <form
        className="pair is-new"
        onSubmit={(event) => {
          event.preventDefault();
          if (!name || !value || wrong) return;
          void attempt(api.setSecret(name, value), `${name}: stored; nodes that use it take it at their next start`)
            .then(read)
            .then(() => {
              setName("");
              setValue("");
            });
        }}
      >
        <input
          aria-label="Name of a secret"
          placeholder="NAME"
          autoComplete="off"
          value={name}
          aria-invalid={!!wrong}
          onChange={(event) => setName(event.target.value)}
        />
        <input
          aria-label="Its value"
          type="password"
          placeholder="value"
          autoComplete="new-password"
          value={value}
          onChange={(event) => setValue(event.target.value)}
        />
        <button disabled={!name || !value || !!wrong}>Store</button>
      </form>
      {wrong && <p className="field-error">{wrong}</p>}
    </>
  );
}
