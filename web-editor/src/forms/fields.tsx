/** Fields that the form library does not have: typed values, JSON, code. */

import type { FieldProps, WidgetProps } from "@rjsf/utils";
import { lazy, Suspense, useState } from "react";
import type { Json } from "../api/types";
import { isReference, REFERENCES, type ReferenceKind } from "../model/forms";

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
  const isSecret = !!(schema as any).secret;
  const kinds = (Object.keys(NAMES) as Kind[]).filter((one) => (isSecret ? one === "$secret" || one === "null" : true));
  const id = fieldPathId.$id;
  const label = schema.title ?? name;
  return (
    <div className="form-group field">
      <label htmlFor={id}>
        {label}
        {required && " *"}
      </label>
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
      {schema.description && <p className="field-description">{schema.description}</p>}
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
  if (kind === "number")
    return (
      <input
        id={id}
        type="number"
        step="any"
        value={value}
        onChange={(event) => onChange(Number(event.target.value))}
      />
    );
  if (kind === "json") return <JsonText id={id} value={value} onChange={onChange} />;
  if (kind === "text") return <input id={id} value={value} onChange={(event) => onChange(event.target.value)} />;
  return (
    <input
      id={id}
      value={value[kind] ?? ""}
      placeholder={kind === "$message" ? "payload.temp_c" : "NAME"}
      onChange={(event) => onChange({ [kind]: event.target.value })}
    />
  );
}

function JsonText({ id, value, onChange }: { id: string; value: Json; onChange: (value: Json) => void }) {
  const [text, setText] = useState(() => (value === undefined ? "" : JSON.stringify(value)));
  const [wrong, setWrong] = useState("");
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
      <JsonText id={fieldPathId.$id} value={formData} onChange={(value) => props.onChange(value, fieldPathId.path)} />
      {schema.description && <p className="field-description">{schema.description}</p>}
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
