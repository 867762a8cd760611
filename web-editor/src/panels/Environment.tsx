/** The environment of a flow: its own values, and names that it expects from the host. */

import { useState } from "react";
import type { FlowDoc, Json } from "../api/types";
import { ENV_NAME, envUsed } from "../model/shared";
import { readSample } from "../model/trial";
import { editFlow } from "../state/editor";
import { Confirm } from "./Confirm";

const put = (name: string, value: Json) => editFlow((doc) => ({ ...doc, env: { ...doc.env, [name]: value } }));

function remove(name: string) {
  editFlow((doc) => {
    const { [name]: _, ...env } = doc.env ?? {};
    return { ...doc, env };
  });
}

export function Environment({ flow }: { flow: FlowDoc }) {
  const own = Object.entries(flow.env ?? {});
  const used = envUsed(flow);
  const ofHost = [...used].filter(([name]) => !(name in (flow.env ?? {}))).sort();
  const [name, setName] = useState("");
  const [text, setText] = useState("");
  const taken = name in (flow.env ?? {});
  const wrong = !name ? "" : taken ? "there is one of this name" : ENV_NAME.test(name) ? "" : "letters, digits and '_'";
  return (
    <>
      <h3>Of this flow</h3>
      <p className="hint">{"Used in any field as ${NAME}. Part of the flow: deploy to make a change count."}</p>
      {own.map(([key, value]) => (
        <div key={key} className="pair">
          <label>
            {key}
            <Value name={key} value={value} />
          </label>
          <span className="hint">{uses(used.get(key))}</span>
          <Confirm label={`Delete ${key}`} question={`Delete ${key}?`} act={() => remove(key)} />
        </div>
      ))}
      <form
        className="pair is-new"
        onSubmit={(event) => {
          event.preventDefault();
          if (!name || wrong) return;
          put(name, readSample(text).wrong ? text : readSample(text).value);
          setName("");
          setText("");
        }}
      >
        <input
          aria-label="Name of a new value"
          placeholder="NAME"
          value={name}
          aria-invalid={!!wrong}
          onChange={(event) => setName(event.target.value)}
        />
        <input
          aria-label="New value"
          placeholder="value"
          value={text}
          onChange={(event) => setText(event.target.value)}
        />
        <button disabled={!name || !!wrong}>Add</button>
      </form>
      {wrong && <p className="field-error">{wrong}</p>}
      <h3>Of the host</h3>
      {ofHost.length ? (
        <ul className="messages">
          {ofHost.map(([key, users]) => (
            <li key={key}>
              {key} <span className="hint">{uses(users)}</span>
            </li>
          ))}
        </ul>
      ) : (
        <p className="hint">Its nodes ask the host&apos;s environment for nothing.</p>
      )}
    </>
  );
}

const uses = (users: string[] | undefined) => (users?.length ? `used by ${users.join(", ")}` : "unused");

/** Taken when the field is left, or Enter is pressed: what is half typed is no value. */
function Value({ name, value }: { name: string; value: Json }) {
  const shown = typeof value === "string" && readSample(value).value === value ? value : JSON.stringify(value);
  const [text, setText] = useState(shown);
  const { value: read, wrong } = readSample(text);
  const take = () => {
    if (!wrong && JSON.stringify(read) !== JSON.stringify(value)) put(name, read);
  };
  return (
    <>
      <input
        aria-label={name}
        value={text}
        aria-invalid={!!wrong}
        onChange={(event) => setText(event.target.value)}
        onBlur={take}
        onKeyDown={(event) => event.key === "Enter" && take()}
      />
      {wrong && <span className="field-error">{wrong}</span>}
    </>
  );
}
