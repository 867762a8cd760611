/** One parameter of a subflow: its name, its kind, what belongs to that kind, its default. */

import { useState } from "react";
import type { FlowDoc, Json } from "../api/types";
import { choicesOf, KINDS, type Kind, type Param } from "../model/parameters";

interface Props {
  name: string;
  param: Param;
  resources: NonNullable<FlowDoc["resources"]>;
  wrong: string;
  onChange: (name: string, param: Param) => void;
  onRemove: () => void;
  onUp?: () => void;
}

const EMPTY: Partial<Record<Kind, Json>> = { text: "", number: 0, bool: false, list: [], map: {} };

export function ParamFields({ name, param, resources, wrong, onChange, onRemove, onUp }: Props) {
  const kind = param.type ?? "any";
  const put = (change: Partial<Param>) => {
    const next: Param = { ...param, ...change };
    for (const field of Object.keys(next) as (keyof Param)[])
      if (next[field] === undefined || (next[field] === "" && field !== "default")) delete next[field];
    onChange(name, next);
  };
  const setKind = (type: Kind) => {
    const { title, description } = param;
    const value = type in EMPTY ? { default: EMPTY[type]! } : {};
    onChange(name, { type, ...(title ? { title } : {}), ...(description ? { description } : {}), ...value });
  };
  const limit = (text: string) => (text === "" ? undefined : Number(text));
  return (
    <fieldset className="param" aria-label={`Parameter ${name}`}>
      <div className="row">
        <input
          aria-label="Name"
          value={name}
          aria-invalid={!!wrong}
          onChange={(event) => onChange(event.target.value, param)}
        />
        <select aria-label="Kind" value={kind} onChange={(event) => setKind(event.target.value as Kind)}>
          {Object.entries(KINDS).map(([one, label]) => (
            <option key={one} value={one}>
              {label}
            </option>
          ))}
        </select>
        {onUp && (
          <button aria-label={`Move ${name} up`} title="Up" onClick={onUp}>
            ↑
          </button>
        )}
        <button aria-label={`Remove ${name}`} title="Remove" onClick={onRemove}>
          ×
        </button>
      </div>
      <div className="row">
        <input
          aria-label="Title"
          placeholder="What the form calls it"
          value={param.title ?? ""}
          onChange={(event) => put({ title: event.target.value })}
        />
        <input
          aria-label="Description"
          placeholder="What it is, with its unit"
          value={param.description ?? ""}
          onChange={(event) => put({ description: event.target.value })}
        />
      </div>
      {kind === "number" && (
        <div className="row">
          {(["min", "max"] as const).map((field) => (
            <label key={field}>
              {field === "min" ? "Smallest" : "Largest"}
              <input
                type="number"
                step="any"
                value={param[field] ?? ""}
                onChange={(event) => put({ [field]: limit(event.target.value) })}
              />
            </label>
          ))}
        </div>
      )}
      {kind === "select" && <Options param={param} onChange={(options) => put({ options })} />}
      {kind === "resource" && (
        <label>
          Of type
          <input
            placeholder="any; such as iot/mqtt-broker"
            value={param.of ?? ""}
            onChange={(event) => put({ of: event.target.value })}
          />
        </label>
      )}
      <Default
        param={param}
        kind={kind}
        resources={Object.keys(resources)}
        onChange={(value) => put({ default: value })}
      />
      {wrong && <span className="field-error">{wrong}</span>}
    </fieldset>
  );
}

/** One value a line; `value = label` where the form calls it otherwise. */
function Options({ param, onChange }: { param: Param; onChange: (options: Param["options"]) => void }) {
  const line = ({ value, label }: { value: Json; label: string }) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    return label === text ? text : `${text} = ${label}`;
  };
  const [text, setText] = useState(() => choicesOf(param).map(line).join("\n"));
  const read = (typed: string) => {
    setText(typed);
    const lines = typed.split("\n").filter((one) => one.trim());
    onChange(
      lines.map((one) => {
        const [value = "", ...label] = one.split(" = ");
        return label.length ? { value: plain(value.trim()), label: label.join(" = ").trim() } : plain(one.trim());
      }),
    );
  };
  return (
    <label>
      Values, one a line; <code>value = label</code> where the form calls it otherwise
      <textarea rows={3} value={text} onChange={(event) => read(event.target.value)} />
    </label>
  );
}

/** A number, a truth value, or else text. */
function plain(text: string): Json {
  return /^(-?\d+(\.\d+)?|true|false)$/.test(text) ? JSON.parse(text) : text;
}

interface DefaultProps {
  param: Param;
  kind: Kind;
  resources: string[];
  onChange: (value: Json | undefined) => void;
}

function Default({ param, kind, resources, onChange }: DefaultProps) {
  const has = param.default !== undefined;
  const first = kind === "select" ? (choicesOf(param)[0]?.value ?? "") : (EMPTY[kind] ?? "");
  const initial: Json = kind === "secret" ? { $secret: "" } : first;
  return (
    <div className="row">
      <label className="is-inline">
        <input
          type="checkbox"
          checked={has}
          onChange={(event) => onChange(event.target.checked ? initial : undefined)}
        />{" "}
        Default
      </label>
      {has ? (
        <DefaultValue kind={kind} param={param} resources={resources} onChange={onChange} />
      ) : (
        <span className="hint">none: each instance must give a value</span>
      )}
    </div>
  );
}

function DefaultValue({ param, kind, resources, onChange }: DefaultProps) {
  const value = param.default;
  const [text, setText] = useState(() => JSON.stringify(value));
  const [wrong, setWrong] = useState("");
  if (kind === "bool")
    return (
      <input
        type="checkbox"
        aria-label="Default value"
        checked={value === true}
        onChange={(event) => onChange(event.target.checked)}
      />
    );
  if (kind === "number")
    return (
      <input
        type="number"
        step="any"
        aria-label="Default value"
        value={typeof value === "number" ? value : ""}
        onChange={(event) => onChange(Number(event.target.value))}
      />
    );
  if (kind === "select" || kind === "resource") {
    const choices = kind === "select" ? choicesOf(param) : resources.map((id) => ({ value: id as Json, label: id }));
    return (
      <select
        aria-label="Default value"
        value={choices.findIndex((one) => JSON.stringify(one.value) === JSON.stringify(value))}
        onChange={(event) => onChange(choices[Number(event.target.value)]?.value ?? "")}
      >
        <option value={-1}>choose</option>
        {choices.map((one, k) => (
          <option key={k} value={k}>
            {one.label}
          </option>
        ))}
      </select>
    );
  }
  if (kind === "text" || kind === "env")
    return (
      <input
        aria-label="Default value"
        value={String(value ?? "")}
        onChange={(event) => onChange(event.target.value)}
      />
    );
  if (kind === "secret")
    return (
      <input
        aria-label="Default value"
        placeholder="name of the secret"
        value={String((value as { $secret?: string } | null)?.$secret ?? "")}
        onChange={(event) => onChange({ $secret: event.target.value })}
      />
    );
  return (
    <span>
      <input
        aria-label="Default value"
        title="as JSON"
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          try {
            onChange(JSON.parse(event.target.value) as Json);
            setWrong("");
          } catch (error) {
            setWrong((error as Error).message);
          }
        }}
      />
      {wrong && <span className="field-error">{wrong}</span>}
    </span>
  );
}
