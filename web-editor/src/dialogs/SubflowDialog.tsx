/** A subflow: what it is called, what its instances may set, and whether it may go. */

import { useState } from "react";
import { deleteSubflow } from "../chrome/structure";
import type { SubflowDef } from "../api/types";
import { paramsOf, wrongParam, type Param } from "../model/parameters";
import { changeSubflow, subflowsOf, usesOf } from "../model/subflows";
import { activeTab, editFlow, openDialog, useEditor } from "../state/editor";
import { Dialog } from "./Dialog";
import { ParamFields } from "./ParamFields";

export function SubflowDialog({ id }: { id: string }) {
  const subflow = useEditor((state) => subflowsOf(activeTab(state)!.doc)[id]);
  return subflow ? <Fields id={id} subflow={subflow} /> : null;
}

function Fields({ id, subflow }: { id: string; subflow: SubflowDef }) {
  const doc = useEditor((state) => activeTab(state)!.doc);
  const [name, setName] = useState(subflow.name ?? "");
  const [description, setDescription] = useState(String(subflow.description ?? ""));
  const [params, setParams] = useState<[string, Param][]>(() => Object.entries(paramsOf(subflow)));
  const uses = usesOf(doc, id).length;
  const names = params.map(([one]) => one);
  const isWrong = params.some(([one, param]) => wrongParam(one, param, names));
  const save = () => {
    editFlow((flow) =>
      changeSubflow(flow, id, (old) => {
        const next: SubflowDef = { ...old, name, description, params: Object.fromEntries(params) as any };
        if (!description) delete next.description;
        if (!params.length) delete next.params;
        return next;
      }),
    );
    openDialog(null);
  };
  const add = () => {
    let free = "PARAM";
    for (let k = 2; names.includes(free); k++) free = `PARAM_${k}`;
    setParams([...params, [free, { type: "text", default: "" }]]);
  };
  return (
    <Dialog
      title={`Subflow “${subflow.name || id}”`}
      done="Save"
      onDone={save}
      canBeDone={!isWrong}
      tools={
        <button
          title={uses ? "An instance of it is there still" : "Undo brings it back"}
          onClick={() => {
            deleteSubflow(id);
            if (!uses) openDialog(null);
          }}
        >
          Delete{uses > 0 && ` (used ${uses === 1 ? "once" : `${uses} times`})`}
        </button>
      }
    >
      <label className="field">
        Name
        <input type="text" value={name} placeholder={id} onChange={(event) => setName(event.target.value)} />
      </label>
      <label className="field">
        Description
        <textarea rows={2} value={description} onChange={(event) => setDescription(event.target.value)} />
      </label>
      <h3>Parameters</h3>
      <p className="field-description">
        Instances set them in their form; the nodes inside use them as <code>{"${NAME}"}</code>.
      </p>
      {params.map(([one, param], k) => (
        <ParamFields
          key={k}
          name={one}
          param={param}
          resources={doc.resources ?? {}}
          wrong={wrongParam(one, param, names)}
          onChange={(to, changed) => setParams(params.map((old, at) => (at === k ? [to, changed] : old)))}
          onRemove={() => setParams(params.filter((_, at) => at !== k))}
          onUp={k ? () => setParams(moved(params, k)) : undefined}
        />
      ))}
      <button onClick={add}>+ parameter</button>
    </Dialog>
  );
}

function moved<T>(list: T[], from: number): T[] {
  const next = [...list];
  next.splice(from - 1, 0, ...next.splice(from, 1));
  return next;
}
