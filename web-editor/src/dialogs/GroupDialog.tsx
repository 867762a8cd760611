/** What a group is called and looks like, and whether its nodes run. */

import { useState } from "react";
import { ungroupSelection } from "../chrome/structure";
import type { GroupDef } from "../api/types";
import { changeGroup, COLOURS, groupsOf } from "../model/groups";
import { edit, openDialog, shownFlow, useEditor } from "../state/editor";
import { Dialog } from "./Dialog";

export function GroupDialog({ id }: { id: string }) {
  const group = useEditor((state) => groupsOf(shownFlow(state)!).find((one) => one.id === id));
  return group ? <Fields group={group} /> : null;
}

function Fields({ group }: { group: GroupDef }) {
  const [name, setName] = useState(group.name ?? "");
  const [colour, setColour] = useState(String(group.ui?.colour ?? "grey"));
  const [disabled, setDisabled] = useState(!!group.disabled);
  const [note, setNote] = useState(group.note ?? "");
  const save = () => {
    edit((doc) =>
      changeGroup(doc, group.id, (old) => {
        const next: GroupDef = { ...old, name, note, disabled, ui: { ...old.ui, colour } };
        for (const field of ["name", "note", "disabled"] as const) if (!next[field]) delete next[field];
        return next;
      }),
    );
    openDialog(null);
  };
  return (
    <Dialog
      title="Group"
      done="Save"
      onDone={save}
      tools={
        <button
          onClick={() => {
            ungroupSelection();
            openDialog(null);
          }}
        >
          Ungroup
        </button>
      }
    >
      <label className="field">
        Label
        <input type="text" value={name} onChange={(event) => setName(event.target.value)} />
      </label>
      <fieldset className="field swatches">
        <legend>Colour</legend>
        {COLOURS.map((one) => (
          <label key={one} className={`swatch is-${one}`} title={one}>
            <input
              type="radio"
              name="colour"
              aria-label={one}
              checked={colour === one}
              onChange={() => setColour(one)}
            />
          </label>
        ))}
      </fieldset>
      <label className="field is-inline">
        <input type="checkbox" checked={!disabled} onChange={(event) => setDisabled(!event.target.checked)} /> Its nodes
        run
      </label>
      <label className="field">
        Remarks
        <textarea rows={5} value={note} onChange={(event) => setNote(event.target.value)} />
      </label>
      <p className="field-description">
        Catch, status and complete nodes can listen to their own group alone; its id is <code>{group.id}</code>.
      </p>
    </Dialog>
  );
}
