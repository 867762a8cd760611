/** Fields that the form library does not have: typed values, JSON, code. */

import type { FieldProps, WidgetProps } from "@rjsf/utils";
import { lazy, Suspense, useEffect, useState } from "react";
import { api } from "../api/http";
import type { Json } from "../api/types";
import { isReference, REFERENCES, type ReferenceKind } from "../model/forms";
import { activeTab, useEditor } from "../state/editor";
import { Said } from "../panels/Said";
import { useFault } from "./faults";

const CodeEditor = lazy(() => import("./CodeEditor"));

type Kind = "text" | "number" | "bool" | "json" | "null" | ReferenceKind;
const NAMES: Record<Kind, string> = {
  text: "text",
  number: "number",
  bool: "yes or no",
  json: "JSON",
  null: "nothing",
  $message: "from message",
  $env: "environment",
  $flow: "flow context",
  $global: "global context",
  $secret: "secret",
};

function kindOf(value: unknown): Kind {
  if (isReference(value)) return REFERENCES.find((kind) => kind in value) ?? "json";
  if (value === null || value === undefined) return "null";
  if (typeof value === "number") return "number";
  if (typeof value === "boolean") return "bool";
  return typeof value === "string" ? "text" : "json";
}

const WHICH: Record<ReferenceKind, string> = {
  $message: "payload.temp_c",
  $env: "NAME",
  $flow: "key",
  $global: "key",
  $secret: "NAME",
};
const LITERALS: Record<string, Kind> = {
  string: "text",
  number: "number",
  integer: "number",
  boolean: "bool",
  array: "json",
  object: "json",
};

/** What may stand in a field: of secrets no literal, of fields that are read once nothing that each message brings. */
function kindsOf(schema: any, now: Kind): Kind[] {
  const literal = LITERALS[schema.type as string];
  const isOptional = schema.nullable || schema.default === null;
  const may = (one: Kind) => {
    if (one === now) return true;
    if (one === "$secret" || one === "$env") return schema.secret || !literal || literal === "text" || one === "$env";
    if (schema.secret) return one === "null";
    if (one.startsWith("$")) return !!schema.dynamic;
    return !literal || one === literal || (one === "null" && isOptional);
  };
  return (Object.keys(NAMES) as Kind[]).filter(may);
}

function emptyOf(kind: Kind, was: unknown): Json {
  const text = typeof was === "string" ? was : typeof was === "number" ? String(was) : "";
  if (kind === "text") return text;
  if (kind === "number") return Number(text) || 0;
  if (kind === "bool") return false;
  if (kind === "json") return {};
  if (kind === "null") return null;
  return { [kind]: text };
}

/** A value with its kind: a literal, or where it comes from. */
export function TypedField(props: FieldProps) {
  const { formData, schema, name, fieldPathId, required } = props;
  const kind = kindOf(formData);
  const change = (value: Json) => props.onChange(value, fieldPathId.path);
  const kinds = kindsOf(schema, kind);
  const id = fieldPathId.$id;
  const label = schema.title ?? name;
  return (
    <div className="form-group field">
      <label htmlFor={id}>
        {label}
        {required && " *"}
      </label>
      {schema.description && <Said>{schema.description}</Said>}
      <div className="typed">
        <select
          aria-label={`${label}: kind`}
          value={kind}
          onChange={(event) => change(emptyOf(event.target.value as Kind, formData))}
        >
          {kinds.map((one) => (
            <option key={one} value={one}>
              {NAMES[one]}
            </option>
          ))}
        </select>
        <Value id={id} kind={kind} value={formData} onChange={change} />
      </div>
      {(props.rawErrors ?? []).map((error) => (
        <p className="field-error" key={error}>
          {error}
        </p>
      ))}
    </div>
  );
}

function Value({ id, kind, value, onChange }: { id: string; kind: Kind; value: any; onChange: (value: Json) => void }) {
  if (kind === "null") return null;
  if (kind === "bool")
    return <input id={id} type="checkbox" checked={!!value} onChange={(event) => onChange(event.target.checked)} />;
  if (kind === "number") return <NumberText id={id} value={value} onChange={onChange} />;
  if (kind === "json") return <JsonText id={id} value={value} onChange={onChange} />;
  if (kind === "text") return <input id={id} value={value} onChange={(event) => onChange(event.target.value)} />;
  return <Reference id={id} kind={kind} value={String(value[kind] ?? "")} onChange={onChange} />;
}

/** Where the value comes from, with the names that there are. */
function Reference(props: { id: string; kind: ReferenceKind; value: string; onChange: (value: Json) => void }) {
  const { id, kind, value, onChange } = props;
  const env = useEditor((state) => activeTab(state)?.doc.env);
  const [secrets, setSecrets] = useState<string[]>([]);
  useEffect(() => {
    if (kind === "$secret") void api.secrets().then(setSecrets, () => undefined);
  }, [kind]);
  const names = kind === "$env" ? Object.keys(env ?? {}) : kind === "$secret" ? secrets : [];
  const wrong = value.trim() ? "" : `say which: ${WHICH[kind]}`;
  useFault(id, wrong);
  return (
    <>
      <input
        id={id}
        list={`${id}-names`}
        value={value}
        placeholder={WHICH[kind]}
        aria-invalid={!!wrong}
        onChange={(event) => onChange({ [kind]: event.target.value })}
      />
      <datalist id={`${id}-names`}>
        {names.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
      {kind === "$secret" && value && secrets.length > 0 && !secrets.includes(value) && (
        <span className="hint">not set yet: panel Data, Secrets</span>
      )}
    </>
  );
}

/** What is half typed (`-`, `1e`) is no number yet, and stays as it is typed. */
function NumberText({ id, value, onChange }: { id: string; value: number; onChange: (value: Json) => void }) {
  const [text, setText] = useState(String(value));
  const wrong = text.trim() !== "" && Number.isFinite(Number(text)) ? "" : "must be a number";
  useFault(id, wrong);
  return (
    <>
      <input
        id={id}
        inputMode="decimal"
        value={text}
        aria-invalid={!!wrong}
        onChange={(event) => {
          setText(event.target.value);
          const number = Number(event.target.value);
          if (event.target.value.trim() && Number.isFinite(number)) onChange(number);
        }}
      />
      {wrong && <span className="field-error">{wrong}</span>}
    </>
  );
}

function JsonText({ id, value, onChange }: { id: string; value: Json; onChange: (value: Json) => void }) {
  const [text, setText] = useState(() => (value === undefined ? "" : JSON.stringify(value)));
  const [wrong, setWrong] = useState("");
  useFault(id, wrong && `not JSON: ${wrong}`);
  return (
    <>
      <textarea
        id={id}
        rows={Math.min(8, Math.max(2, text.split("\n").length))}
        value={text}
        aria-invalid={!!wrong}
        spellCheck={false}
        onChange={(event) => {
          setText(event.target.value);
          try {
            onChange(event.target.value.trim() ? (JSON.parse(event.target.value) as Json) : null);
            setWrong("");
          } catch (error) {
            setWrong((error as Error).message);
          }
        }}
      />
      {wrong && <p className="field-error">{wrong}</p>}
    </>
  );
}

/** What has no field of its own, as JSON. */
export function JsonField(props: FieldProps) {
  const { formData, schema, name, fieldPathId } = props;
  return (
    <div className="form-group field">
      <label htmlFor={fieldPathId.$id}>{schema.title ?? name}</label>
      {schema.description && <Said>{schema.description}</Said>}
      <JsonText id={fieldPathId.$id} value={formData} onChange={(value) => props.onChange(value, fieldPathId.path)} />
      {(props.rawErrors ?? []).map((error) => (
        <p className="field-error" key={error}>
          {error}
        </p>
      ))}
    </div>
  );
}

/** A script or a template. */
export function CodeWidget({ value, onChange, options, label }: WidgetProps) {
  return (
    <Suspense fallback={<pre className="code">{value}</pre>}>
      <CodeEditor
        value={value ?? ""}
        language={String(options.language ?? "python")}
        label={label}
        onChange={onChange}
      />
    </Suspense>
  );
}
