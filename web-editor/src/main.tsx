import "@xyflow/react/dist/style.css";
import "./style/index.css";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import { takeIn } from "./chrome/transfer";
import { checkAsDrawn } from "./state/checking";
import { load, openForm, toast } from "./state/editor";

// For tests, and for who looks at it with the browser's tools.
Object.assign(window, { flowcoreTakeIn: takeIn, flowcoreOpenForm: openForm });

// Drawn once, when all is there: what it is made of was asked for before this code came (index.html).
const begin = () => createRoot(document.getElementById("root")!).render(<App />);
checkAsDrawn();
load()
  .catch((error: Error) => toast("error", "The flows could not be read", [error.message]))
  .then(begin);
