/** A button that asks first, in its place. */

import { useState } from "react";

export function Confirm(props: { label: string; question: string; act: () => unknown; text?: string }) {
  const [isAsked, setAsked] = useState(false);
  if (!isAsked)
    return (
      <button type="button" className="quiet" aria-label={props.label} onClick={() => setAsked(true)}>
        {props.text ?? "delete"}
      </button>
    );
  return (
    <span className="confirm" role="alertdialog" aria-label={props.question}>
      {props.question}{" "}
      <button
        type="button"
        className="is-danger"
        autoFocus
        onClick={() => {
          setAsked(false);
          void props.act();
        }}
      >
        Delete
      </button>
      <button type="button" onClick={() => setAsked(false)}>
        Keep
      </button>
    </span>
  );
}
