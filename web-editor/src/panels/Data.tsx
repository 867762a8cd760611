/** What nodes share and find around them: contexts and state, environment, shared settings, secrets. */

import { useState } from "react";
import { activeTab, useEditor } from "../state/editor";
import { Contexts } from "./Contexts";
import { Environment } from "./Environment";
import { Secrets } from "./Secrets";
import { SharedSettings } from "./SharedSettings";

const PARTS = { context: "Context", env: "Environment", shared: "Shared settings", secrets: "Secrets" } as const;
type Part = keyof typeof PARTS;

export default function Data() {
  const tab = useEditor(activeTab);
  const [part, setPart] = useState<Part>("context");
  if (!tab) return null;
  return (
    <>
      <div className="panel-tools">
        <select aria-label="What is shown" value={part} onChange={(event) => setPart(event.target.value as Part)}>
          {Object.entries(PARTS).map(([name, label]) => (
            <option key={name} value={name}>
              {label}
            </option>
          ))}
        </select>
      </div>
      {part === "context" && <Contexts tab={tab} />}
      {part === "env" && <Environment flow={tab.doc} />}
      {part === "shared" && <SharedSettings flow={tab.doc} />}
      {part === "secrets" && <Secrets />}
    </>
  );
}
