"""What each export in `exports/` becomes, kept in `flows/`: `python -m tests.convert` writes it anew."""

from pathlib import Path

from flowcore.convert.nodered import Imported, turn
from flowcore.flow.format import format_flow

HERE = Path(__file__).parent
EXPORTS = sorted((HERE / "exports").glob("*.json"))


def files(export: Path) -> dict[Path, str]:
    """The files of an export: its flows, and what the import told."""
    imported = turn(export.read_text(encoding="utf-8"), export.stem)
    folder = HERE / "flows" / export.stem
    made = {folder / f"{document['id']}.json": format_flow(document) for document in imported.flows}
    return {**made, folder / "findings.txt": told(imported)}


def told(imported: Imported) -> str:
    """The findings, a line each."""
    return "".join(f"{finding.kind}: {finding}\n" for finding in imported.findings)
