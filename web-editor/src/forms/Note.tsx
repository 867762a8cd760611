/** The description of a node: Markdown, and how it will look. */

import { lazy, Suspense, useState } from "react";

const Markdown = lazy(() => import("../panels/Markdown"));

export function Note({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  const [isPreview, setPreview] = useState(false);
  return (
    <>
      <div className="row">
        <button type="button" aria-pressed={!isPreview} onClick={() => setPreview(false)}>
          Write
        </button>
        <button type="button" aria-pressed={isPreview} onClick={() => setPreview(true)}>
          Preview
        </button>
        <span className="hint">Markdown: **bold**, lists, `code`, [links](https://…)</span>
      </div>
      {isPreview ? (
        <Suspense fallback={null}>
          {value.trim() ? <Markdown text={value} /> : <p className="hint">Nothing is written yet.</p>}
        </Suspense>
      ) : (
        <textarea aria-label="Description" rows={16} value={value} onChange={(event) => onChange(event.target.value)} />
      )}
    </>
  );
}
