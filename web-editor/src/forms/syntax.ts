/** Where a program stops making sense, as far as the grammar of the code editor knows; the runtime has the last word. */

import { ensureSyntaxTree } from "@codemirror/language";
import type { EditorState } from "@codemirror/state";

const LONGEST_MS = 50;

/** The number of the first line that does not fit the language, or null. */
export function firstWrongLine(state: EditorState): number | null {
  const tree = ensureSyntaxTree(state, state.doc.length, LONGEST_MS);
  let found: number | null = null;
  tree?.iterate({
    enter: (node) => {
      if (found !== null) return false;
      const line = node.type.isError && state.doc.lineAt(node.from);
      // The grammar of Python asks for a value behind `yield`; Python does not.
      if (line && line.text.trim() !== "yield") found = line.number;
    },
  });
  return found;
}
