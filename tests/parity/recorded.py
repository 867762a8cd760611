"""What Node-RED gave, kept in `recorded/`: `make test` compares with it, `make parity` makes it anew."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.parity.cases import HERE, Case
from tests.parity.outcome import Outcome, normal

FOLDER = HERE / "recorded"


def load(folder: Path = FOLDER) -> dict[tuple[str, str], dict[str, Any]]:
    """(node, case) -> {"of": fingerprint of the case, "outcome": [...]}."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        for name, entry in json.loads(path.read_text())["cases"].items():
            found[path.stem, name] = entry
    return found


def save(cases: Iterable[Case], outcomes: Mapping[str, Outcome], version: str, folder: Path = FOLDER) -> None:
    """Write the outcomes of all cases, a file a node, a line a message."""
    folder.mkdir(exist_ok=True)
    by_node: dict[str, dict[str, Any]] = {}
    for case in cases:
        by_node.setdefault(case.node, {})[case.name] = {"of": case.fingerprint, "outcome": normal(outcomes[case.id])}
    for node, entries in by_node.items():
        lines = [f'{{"node_red": {json.dumps(version)}, "cases": {{']
        for at, (name, entry) in enumerate(entries.items()):
            messages = ",\n    ".join(json.dumps(one, ensure_ascii=False) for one in entry["outcome"])
            body = f"[\n    {messages}]" if messages else "[]"
            end = "," if at + 1 < len(entries) else ""
            lines.append(f'  {json.dumps(name)}: {{"of": "{entry["of"]}", "outcome": {body}}}{end}')
        (folder / f"{node}.json").write_text("\n".join([*lines, "}}"]) + "\n")
