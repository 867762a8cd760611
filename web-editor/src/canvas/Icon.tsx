/** The picture of a node type: a Lucide icon by name, once they are loaded; until then the first letters of its title. */

import { useSyncExternalStore } from "react";
import { categoryColour } from "./look";

type Shape = [tag: string, attributes: Record<string, string>];

let icons: Record<string, Shape[]> | null = null;
const waiting = new Set<() => void>();

/** Loaded after the first picture of the flow: they are 100 kB that nobody has to wait for. */
function subscribe(told: () => void) {
  waiting.add(told);
  if (waiting.size === 1 && !icons) {
    void import("lucide-static/icon-nodes.json").then((found) => {
      icons = { ...(found.default as unknown as Record<string, Shape[]>), function: FUNCTION };
      waiting.forEach((one) => one());
    });
  }
  return () => void waiting.delete(told);
}

/** Names that Lucide has changed. */
const RENAMED: Record<string, string> = { filter: "funnel" };

const FUNCTION: Shape[] = [
  ["path", { d: "M15 4h-1.5a3 3 0 0 0-3 2.6L8.5 17.4A3 3 0 0 1 5.5 20H4" }],
  ["path", { d: "M7 10h7" }],
];

export function Icon({ name, title, category }: { name: string; title: string; category: string }) {
  const shapes = useSyncExternalStore(subscribe, () => icons?.[RENAMED[name] ?? name]);
  return (
    <span className="node-sign" style={{ background: categoryColour(category) }} aria-hidden>
      {shapes ? (
        <svg viewBox="0 0 24 24" width={16} height={16} fill="none" stroke="currentColor" strokeWidth={1.8}>
          {shapes.map(([Tag, attributes], k) => {
            const Part = Tag as "path";
            return <Part key={k} {...attributes} />;
          })}
        </svg>
      ) : (
        title.slice(0, 2)
      )}
    </span>
  );
}
