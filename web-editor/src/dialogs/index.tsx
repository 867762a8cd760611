/** The dialogs, loaded when the first is opened. */

import { useEditor } from "../state/editor";
import { ExportDialog } from "./ExportDialog";
import { GroupDialog } from "./GroupDialog";
import { ImportDialog } from "./ImportDialog";
import { PortDialog } from "./PortDialog";
import { SubflowDialog } from "./SubflowDialog";

export default function Dialogs() {
  const dialog = useEditor((state) => state.dialog);
  if (!dialog) return null;
  if (dialog.kind === "group") return <GroupDialog key={dialog.id} id={dialog.id} />;
  if (dialog.kind === "port") return <PortDialog key={dialog.id} id={dialog.id} />;
  if (dialog.kind === "subflow") return <SubflowDialog key={dialog.id} id={dialog.id} />;
  if (dialog.kind === "import") return <ImportDialog text={dialog.text ?? ""} />;
  return <ExportDialog />;
}
