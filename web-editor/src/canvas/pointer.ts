/** Where on the canvas the mouse points to nothing: what is pasted goes there. */

import type { Point } from "../model/flow";

let at: Point | null = null;

export const point = (place: Point | null) => void (at = place);

/** The place, once: what was pasted there is under the mouse then. */
export function takePointed(): Point | null {
  const place = at;
  at = null;
  return place;
}
