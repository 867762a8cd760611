/** CodeMirror, loaded when the first code is shown. Its style sheets carry the page's nonce. */

import { useEffect, useRef, useState } from "react";
import { basicSetup, EditorView } from "codemirror";
import { EditorState } from "@codemirror/state";
import { python } from "@codemirror/lang-python";
import { javascript } from "@codemirror/lang-javascript";
import { json } from "@codemirror/lang-json";
import { firstWrongLine } from "./syntax";

const nonce = () => document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content ?? "";
const LANGUAGES = { python, javascript, json } as const;
const NAMES = { python: "Python", javascript: "JavaScript", json: "JSON" };
const PAUSE_MS = 600; // what is half typed is not called wrong

export interface CodeProps {
  value: string;
  language: string;
  label: string;
  onChange: (value: string) => void;
}

export default function CodeEditor({ value, language, label, onChange }: CodeProps) {
  const place = useRef<HTMLDivElement>(null);
  const latest = useRef(onChange);
  latest.current = onChange;
  const [wrong, setWrong] = useState<number | null>(null);
  useEffect(() => {
    let timer = 0;
    const look = (state: EditorState) => {
      clearTimeout(timer);
      timer = window.setTimeout(() => setWrong(firstWrongLine(state)), PAUSE_MS);
    };
    const speaks = LANGUAGES[language as keyof typeof LANGUAGES];
    const view = new EditorView({
      parent: place.current!,
      state: EditorState.create({
        doc: value,
        extensions: [
          basicSetup,
          ...(speaks ? [speaks()] : []),
          EditorView.cspNonce.of(nonce()),
          EditorView.contentAttributes.of({ "aria-label": label }),
          EditorView.updateListener.of((update) => {
            if (!update.docChanged) return;
            latest.current(update.state.doc.toString());
            look(update.state);
          }),
        ],
      }),
    });
    look(view.state); // in another language there is no tree, and nothing is found
    return () => {
      clearTimeout(timer);
      view.destroy();
    };
  }, [language]);
  return (
    <>
      <div className="code" ref={place} />
      {wrong !== null && (
        <p className="field-error" role="status">
          line {wrong} does not read as {NAMES[language as keyof typeof NAMES]}
        </p>
      )}
    </>
  );
}
