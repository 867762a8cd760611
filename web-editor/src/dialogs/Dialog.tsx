/** A form beside the canvas that is no node's: Ctrl-Enter does it, Escape leaves all as it was. */

import { useEffect, useRef, type ReactNode } from "react";
import { openDialog } from "../state/editor";

interface Props {
  title: string;
  done: string;
  onDone: () => void;
  canBeDone?: boolean;
  tools?: ReactNode;
  children: ReactNode;
}

export function Dialog({ title, done, onDone, canBeDone = true, tools, children }: Props) {
  const dialog = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const first = dialog.current?.querySelector<HTMLInputElement>(".form-body input, .form-body textarea");
    first?.focus();
    if (first?.type === "text") first.select();
  }, []);
  const finish = () => {
    if (canBeDone) onDone();
  };
  return (
    <div
      className="form"
      role="dialog"
      aria-label={title}
      ref={dialog}
      onKeyDown={(event) => {
        if (event.key === "Escape") openDialog(null);
        else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) finish();
        event.stopPropagation();
      }}
    >
      <header>
        <h2>{title}</h2>
        {tools}
        <button onClick={() => openDialog(null)}>Cancel</button>
        <button className="is-main" disabled={!canBeDone} onClick={finish}>
          {done}
        </button>
      </header>
      <div className="form-body">{children}</div>
    </div>
  );
}
