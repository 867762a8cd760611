/** What is selected, the flow or all flows as JSON: into a file or onto the clipboard. */

import { useMemo, useState } from "react";
import { download, exported, type What } from "../chrome/transfer";
import { openDialog, toast, useEditor } from "../state/editor";
import { Dialog } from "./Dialog";

export function ExportDialog() {
  const count = useEditor((state) => state.selected.nodes.size);
  const [what, setWhat] = useState<What>(count ? "selection" : "flow");
  const file = useMemo(() => exported(what), [what]);
  const copy = async () => {
    await navigator.clipboard.writeText(file!.text);
    toast("done", "Copied");
    openDialog(null);
  };
  return (
    <Dialog
      title="Export"
      done="Download"
      canBeDone={!!file}
      onDone={() => {
        download(what);
        openDialog(null);
      }}
      tools={
        <button disabled={!file} onClick={() => void copy()}>
          Copy
        </button>
      }
    >
      <fieldset className="field">
        <legend>What</legend>
        {(
          [
            ["selection", `The selection (${count} nodes)`],
            ["flow", "This flow"],
            ["all", "All flows"],
          ] as const
        ).map(([one, label]) => (
          <label key={one} className="is-line">
            <input
              type="radio"
              name="what"
              checked={what === one}
              disabled={one === "selection" && !count}
              onChange={() => setWhat(one)}
            />{" "}
            {label}
          </label>
        ))}
      </fieldset>
      <p className="field-description">{file?.name}</p>
      <pre className="code preview">{file?.text.slice(0, 20_000)}</pre>
    </Dialog>
  );
}
