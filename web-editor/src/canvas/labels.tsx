/**
 * Where the labels of wires are drawn: one place above the wires. React Flow has one, but each label looks for it in the
 * whole page at each step of a pan.
 */

import { ViewportPortal } from "@xyflow/react";
import { useSyncExternalStore, type ReactNode } from "react";
import { createPortal } from "react-dom";

let place: HTMLElement | null = null;
const waiting = new Set<() => void>();

function put(element: HTMLElement | null) {
  place = element;
  waiting.forEach((one) => one());
}

const subscribe = (told: () => void) => {
  waiting.add(told);
  return () => void waiting.delete(told);
};

export const WireLabels = () => (
  <ViewportPortal>
    <div className="wire-labels" ref={put} />
  </ViewportPortal>
);

export function WireLabel({ children }: { children: ReactNode }) {
  const at = useSyncExternalStore(subscribe, () => place);
  return at && createPortal(children, at);
}
