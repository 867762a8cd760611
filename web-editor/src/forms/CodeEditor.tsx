/** CodeMirror, loaded when the first code is shown. Its style sheets carry the page's nonce. */

import { useEffect, useRef } from "react";
import { basicSetup, EditorView } from "codemirror";
import { EditorState } from "@codemirror/state";
import { python } from "@codemirror/lang-python";
import { javascript } from "@codemirror/lang-javascript";
import { json } from "@codemirror/lang-json";

const nonce = () => document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content ?? "";
const LANGUAGES = { python, javascript, json } as const;

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
  useEffect(() => {
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
            if (update.docChanged) latest.current(update.state.doc.toString());
          }),
        ],
      }),
    });
    return () => view.destroy();
  }, [language]);
  return <div className="code" ref={place} />;
}
