/** The form of a node: its config from its type's schema, what the engine does for it, what people should know of it. */

import Form from "@rjsf/core";
import { useEffect, useMemo, useRef, useState } from "react";
import type { FlowDoc, Json, NodeDef, Schema } from "../api/types";
import { changeNode, renameNode } from "../model/flow";
import { formSchema, uiSchema, worthKeeping } from "../model/forms";
import { paramSchema } from "../model/parameters";
import { subflowName } from "../model/subflows";
import { edit, openForm, select, toast, useEditor } from "../state/editor";
import { DescriptionField, Said } from "../panels/Said";
import { openSubflow } from "../state/view";
import { Faults } from "./faults";
import { CodeWidget, JsonField, TypedField } from "./fields";
import { Note } from "./Note";
import { SharedField } from "./SharedField";
import { validator } from "./validator";

const FIELDS = { typed: TypedField, json: JsonField, shared: SharedField };
const WIDGETS = { code: CodeWidget };
const TEMPLATES = { DescriptionFieldTemplate: DescriptionField };
const ID = /^[a-z0-9][a-z0-9_-]{0,63}$/;

const PAGES = ["config", "settings", "note"] as const;
type Page = (typeof PAGES)[number];
const TITLES: Record<Page, string> = { config: "Properties", settings: "Policies", note: "Description" };

let settingsSchema: Promise<Schema> | null = null;
const askSettingsSchema = () =>
  (settingsSchema ??= fetch("/api/schema")
    .then((answer) => answer.json())
    .then((schema: Schema) => ({ ...schema.$defs.NodeSettings, $defs: schema.$defs })));

export default function NodeForm({ flow, node }: { flow: FlowDoc; node: NodeDef }) {
  const type = useEditor((state) => state.types[node.type]);
  const problems = useEditor((state) => state.tabs[flow.id]?.problems[node.id]);
  const subflow = subflowName(node.type);
  const [page, setPage] = useState<Page>("config");
  const [id, setId] = useState(node.id);
  const [name, setName] = useState(node.name ?? "");
  const [note, setNote] = useState(node.note ?? "");
  const [disabled, setDisabled] = useState(!!node.disabled);
  const [config, setConfig] = useState<Record<string, Json>>(node.config ?? {});
  const [settings, setSettings] = useState<Record<string, Json>>(node.settings ?? {});
  const [settingsForm, setSettingsForm] = useState<Schema | null>(null);
  const [wrong, setWrong] = useState({ config: 0, settings: 0, note: 0 });
  const faults = useRef(new Map<string, string>());
  const dialog = useRef<HTMLDivElement>(null);

  const schema = useMemo(() => formSchema(configSchema(flow, node, type?.config_schema)), [type, node.type, flow]);
  const ui = useMemo(() => submitless(uiSchema(schema, schema, node.config ?? {})), [schema]);
  const settingsUi = useMemo(
    () => settingsForm && submitless(uiSchema(settingsForm, settingsForm, node.settings ?? {})),
    [settingsForm],
  );
  useEffect(() => {
    void askSettingsSchema().then((found) => setSettingsForm(formSchema(found)));
    dialog.current?.querySelector<HTMLInputElement>("input, select, textarea")?.focus();
  }, []);

  const idTaken = id !== node.id && (flow.nodes ?? []).some((one) => one.id === id);
  const idWrong = idTaken ? "taken by another node" : ID.test(id) ? "" : "a-z, 0-9, '-' and '_', up to 64";

  const save = () => {
    const bad = PAGES.find((one) => wrong[one]);
    if (idWrong || bad || faults.current.size) {
      if (bad && bad !== page) setPage(bad);
      const where = [...(bad ? [`on the page ${TITLES[bad]}`] : []), ...faults.current.values()];
      toast("error", "Not saved: the form has errors", idWrong ? [`id: ${idWrong}`] : where);
      return;
    }
    const keptConfig = worthKeeping(config, schema, node.config ?? {});
    const keptSettings = settingsForm ? worthKeeping(settings, settingsForm, node.settings ?? {}) : settings;
    edit((doc) => {
      const changed = changeNode(doc, node.id, (old) =>
        tidy({ ...old, name, note, disabled, config: keptConfig, settings: keptSettings }),
      );
      return id === node.id ? changed : renameNode(changed, node.id, id);
    });
    select([id]);
    openForm(null);
  };

  return (
    <div
      className="form"
      role="dialog"
      aria-label={`Edit ${node.name || node.id}`}
      ref={dialog}
      onKeyDown={(event) => {
        if (event.key === "Escape") openForm(null);
        else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save();
        event.stopPropagation();
      }}
    >
      <header>
        <h2>{type?.title ?? (flow.subflows?.[subflow ?? ""]?.name || node.type)}</h2>
        {subflow !== null && <button onClick={() => openSubflow(subflow, node.id)}>Open the subflow</button>}
        <button onClick={() => openForm(null)}>Cancel</button>
        <button className="is-main" onClick={save}>
          Save
        </button>
      </header>
      <div className="form-head">
        <label>
          Name
          <input value={name} placeholder={node.id} onChange={(event) => setName(event.target.value)} />
        </label>
        <label>
          Id
          <input value={id} aria-invalid={!!idWrong} onChange={(event) => setId(event.target.value)} />
          {idWrong && <span className="field-error">{idWrong}</span>}
        </label>
        <label className="is-inline">
          <input type="checkbox" checked={!disabled} onChange={(event) => setDisabled(!event.target.checked)} /> Enabled
        </label>
      </div>
      <nav role="tablist">
        {PAGES.map((one) => (
          <button key={one} role="tab" aria-selected={page === one} onClick={() => setPage(one)}>
            {TITLES[one]}
            {wrong[one] > 0 && <b className="count">{wrong[one]}</b>}
          </button>
        ))}
      </nav>
      <Faults.Provider value={faults.current}>
        <div className="form-body" role="tabpanel">
          {problems?.map((problem) => (
            <p className="field-error" key={problem}>
              {problem}
            </p>
          ))}
          {page === "config" && (
            <>
              {type && <Said>{type.doc.split("\n\n")[0]!}</Said>}
              <Form
                schema={schema as any}
                uiSchema={ui}
                formData={config}
                validator={validator}
                fields={FIELDS}
                widgets={WIDGETS}
                templates={TEMPLATES}
                liveValidate="onChange"
                showErrorList={false}
                onChange={({ formData, errors }) => {
                  setConfig(formData as Record<string, Json>);
                  setWrong((old) => ({ ...old, config: errors.length }));
                }}
              />
            </>
          )}
          {page === "settings" && settingsForm && settingsUi && (
            <Form
              schema={settingsForm as any}
              uiSchema={settingsUi}
              formData={settings}
              validator={validator}
              fields={FIELDS}
              templates={TEMPLATES}
              liveValidate="onChange"
              showErrorList={false}
              onChange={({ formData, errors }) => {
                setSettings(formData as Record<string, Json>);
                setWrong((old) => ({ ...old, settings: errors.length }));
              }}
            />
          )}
          {page === "note" && <Note value={note} onChange={setNote} />}
        </div>
      </Faults.Provider>
    </div>
  );
}

const submitless = (ui: Schema): Schema => ({ ...ui, "ui:submitButtonOptions": { norender: true }, "ui:title": " " });

/** The schema of a node's config; of a subflow's instance that of its parameters. */
function configSchema(flow: FlowDoc, node: NodeDef, schema: Schema | undefined): Schema {
  if (schema) return { ...schema, title: undefined, description: undefined, shares: true };
  return paramSchema(flow.subflows?.[node.type.replace(/^subflow:/, "")], flow);
}

/** A node without fields that say nothing. */
function tidy(node: NodeDef): NodeDef {
  const next = { ...node };
  for (const name of ["name", "note", "disabled"] as const) if (!next[name]) delete next[name];
  for (const name of ["config", "settings"] as const) if (!Object.keys(next[name] ?? {}).length) delete next[name];
  return next;
}
