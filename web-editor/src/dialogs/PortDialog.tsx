/** The name of a subflow's port; wires of its instances follow. */

import { useState } from "react";
import { portId, renamePort, subflowsOf, type PortSide } from "../model/subflows";
import { activeTab, editFlow, openDialog, openPath, select, useEditor } from "../state/editor";
import { Dialog } from "./Dialog";

const NAME = /^[a-z0-9_]{1,64}$/;

export function PortDialog({ id }: { id: string }) {
  const side: PortSide = id.startsWith("@in:") ? "inputs" : "outputs";
  const before = id.slice(id.indexOf(":") + 1);
  const [name, setName] = useState(before);
  const tab = useEditor(activeTab);
  const subflow = useEditor((state) => openPath(state).at(-1)?.subflow);
  if (!tab || !subflow) return null;
  const isTaken = name !== before && name in (subflowsOf(tab.doc)[subflow]?.[side] ?? {});
  const wrong = isTaken ? "another port has this name" : NAME.test(name) ? "" : "a-z, 0-9 and '_', up to 64";
  const save = () => {
    if (name !== before) editFlow((doc) => renamePort(doc, subflow, side, before, name));
    select([portId(side, name)]);
    openDialog(null);
  };
  return (
    <Dialog title={side === "inputs" ? "Input" : "Output"} done="Save" onDone={save} canBeDone={!wrong}>
      <label className="field">
        Name
        <input type="text" value={name} aria-invalid={!!wrong} onChange={(event) => setName(event.target.value)} />
        {wrong && <span className="field-error">{wrong}</span>}
      </label>
    </Dialog>
  );
}
