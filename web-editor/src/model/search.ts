/** Search over every property of the nodes; `is:unused`, `is:invalid`, `type:core/switch` narrow it. */

import type { FlowDoc, NodeDef } from "../api/types";
import { ends, nodesOf, wiresOf } from "./flow";

export interface Hit {
  flow: string;
  node: string;
  label: string;
}

export function search(flows: FlowDoc[], query: string, invalid: (flow: string, node: string) => boolean): Hit[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return [];
  return flows.flatMap((flow) => {
    const wired = new Set(wiresOf(flow).flatMap((wire) => [ends(wire.from)[0], ends(wire.to)[0]]));
    const matches = (node: NodeDef, word: string) => {
      if (word === "is:unused") return !wired.has(node.id);
      if (word === "is:invalid") return invalid(flow.id, node.id);
      if (word === "is:disabled") return !!node.disabled;
      if (word.startsWith("type:")) return node.type.includes(word.slice(5));
      return JSON.stringify({ ...node, ui: undefined })
        .toLowerCase()
        .includes(word);
    };
    return nodesOf(flow)
      .filter((node) => words.every((word) => matches(node, word)))
      .map((node) => ({ flow: flow.id, node: node.id, label: node.name || node.id }));
  });
}

/** How well a name fits what was typed so far: higher is better, 0 not at all. */
export function fitness(name: string, typed: string): number {
  const [text, wish] = [name.toLowerCase(), typed.toLowerCase().trim()];
  if (!wish) return 1;
  if (text === wish) return 100;
  if (text.startsWith(wish)) return 50;
  const at = text.indexOf(wish);
  if (at > 0) return /[^a-z0-9]/.test(text[at - 1]!) ? 40 : 20;
  let from = 0;
  for (const letter of wish) {
    from = text.indexOf(letter, from) + 1;
    if (!from) return 0;
  }
  return 5;
}
