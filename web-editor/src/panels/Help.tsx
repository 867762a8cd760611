/** What a node type does: its documentation, ports, settings, and example flows that can be opened. */

import { lazy, Suspense, useEffect, useState } from "react";
import { api } from "../api/http";
import type { Example, NodeType, Port, Schema } from "../api/types";
import { resolve } from "../model/forms";
import { addFlow, toast } from "../state/editor";
import { coded } from "./Said";

const Markdown = lazy(() => import("./Markdown"));

export default function Help({ type }: { type: NodeType }) {
  const [examples, setExamples] = useState<Example[]>([]);
  useEffect(() => {
    let isHere = true;
    setExamples([]);
    void api.examples(type.type).then(
      (found) => isHere && setExamples(found),
      () => undefined,
    );
    return () => void (isHere = false);
  }, [type.type]);
  const fields = Object.entries((type.config_schema?.properties ?? {}) as Record<string, Schema>);
  return (
    <section className="help" aria-label={`About ${type.title}`}>
      <h3>{type.title}</h3>
      <Suspense fallback={<p>{type.doc}</p>}>
        <Markdown text={type.doc} />
      </Suspense>
      <Ports title="Inputs" ports={type.inputs} />
      <Ports title="Outputs" ports={type.outputs} />
      {fields.length > 0 && (
        <>
          <h4>Settings</h4>
          <dl className="fields">
            {fields.map(([name, field]) => (
              <div key={name}>
                <dt>
                  <code>{name}</code>
                </dt>
                <dd>
                  {coded(field.description ?? "")} <small>{about(field, type.config_schema)}</small>
                </dd>
              </div>
            ))}
          </dl>
        </>
      )}
      {examples.length > 0 && (
        <>
          <h4>Examples</h4>
          <ul>
            {examples.map((one) => (
              <li key={one.file}>
                <button
                  className="node-link"
                  title={one.document.description || one.name}
                  onClick={() => {
                    addFlow(one.name, one.document);
                    toast("note", `${one.name}: opened as a new flow`, ["It runs when it is deployed."]);
                  }}
                >
                  Open {one.name}
                </button>{" "}
                <span className="hint">{one.document.nodes?.length} nodes</span>
              </li>
            ))}
          </ul>
        </>
      )}
      <p className="hint">
        {type.type}, of {type.distribution || "this flow"}
      </p>
    </section>
  );
}

function Ports({ title, ports }: { title: string; ports: Port[] }) {
  if (!ports.length) return null;
  return (
    <>
      <h4>{title}</h4>
      <dl className="fields">
        {ports.map((port) => (
          <div key={port.name}>
            <dt>
              <code>{port.name}</code>
            </dt>
            <dd>
              <small>{port.type}</small> {coded(port.description ?? "")}
            </dd>
          </div>
        ))}
      </dl>
    </>
  );
}

function about(field: Schema, root: Schema): string {
  const at = resolve(field, root);
  const kind = at.enum ? (at.enum as unknown[]).map(String).join(", ") : (at.type ?? "");
  const otherwise = field.default;
  const isShort = otherwise !== undefined && otherwise !== null && otherwise !== "" && typeof otherwise !== "object";
  return [kind, isShort ? `default ${JSON.stringify(otherwise)}` : ""].filter(Boolean).join("; ");
}
