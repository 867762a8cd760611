/** A line of a description: what stands between backticks is code. */

import type { DescriptionFieldProps } from "@rjsf/utils";
import { Fragment } from "react";

export const coded = (text: string) =>
  text.split("`").map((part, k) => (k % 2 ? <code key={k}>{part}</code> : <Fragment key={k}>{part}</Fragment>));

export const Said = ({ children }: { children: string }) => <p className="field-description">{coded(children)}</p>;

/** The same for the form library. */
export function DescriptionField({ id, description }: DescriptionFieldProps) {
  if (!description) return null;
  return (
    <p id={id} className="field-description">
      {typeof description === "string" ? coded(description) : description}
    </p>
  );
}
