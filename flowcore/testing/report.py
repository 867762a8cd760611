"""How results are told: lines for people, a JUnit file for CI systems, JSON for programs."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowcore.testing.run import Result

MARKS = {"passed": "ok", "failed": "FAILED", "broken": "BROKEN", "skipped": "skipped"}
_NOT_XML = {number: None for number in range(32) if chr(number) not in "\t\n\r"}


def line(result: Result) -> str:
    """One case, in one line."""
    why = f" ({result.lines[0]})" if result.outcome == "skipped" else ""
    return f"{MARKS[result.outcome]:8} {result.ready.id}{why}  {result.took_s:.2f} s"


def summary(results: Sequence[Result], took_s: float) -> str:
    """All of them, in one line."""
    counts = {outcome: sum(one.outcome == outcome for one in results) for outcome in MARKS}
    told = [f"{count} {outcome}" for outcome, count in counts.items() if count]
    return f"{', '.join(told) or 'no cases'} in {took_s:.1f} s"


def asdict(result: Result) -> dict[str, Any]:
    """One case, for JSON."""
    case = result.ready.case
    return {
        "file": str(result.ready.file),
        "flow": str(result.ready.flow_file),
        "case": case.name,
        "outcome": result.outcome,
        "took_s": round(result.took_s, 3),
        "where": result.where,
        "step": result.step,
        "lines": result.lines,
        "log": result.log,
    }


def write_junit(path: Path, results: Sequence[Result]) -> None:
    """A JUnit file: a suite for each test file."""
    root = ET.Element("testsuites", name="flowcore test")
    for file in dict.fromkeys(result.ready.file for result in results):
        own = [result for result in results if result.ready.file == file]
        suite = ET.SubElement(root, "testsuite", name=file.name, time=f"{sum(one.took_s for one in own):.3f}")
        suite.set("tests", str(len(own)))
        for name, outcome in (("failures", "failed"), ("errors", "broken"), ("skipped", "skipped")):
            suite.set(name, str(sum(one.outcome == outcome for one in own)))
        for result in own:
            case = ET.SubElement(
                suite,
                "testcase",
                name=result.ready.case.name,
                classname=file.name.removesuffix(".json"),
                file=str(file),
                line=str(result.ready.line),
                time=f"{result.took_s:.3f}",
            )
            if result.outcome == "skipped":
                ET.SubElement(case, "skipped", message=result.lines[0])
            elif result.outcome != "passed":
                kind = "failure" if result.outcome == "failed" else "error"
                first = _clean(result.lines[0] if result.lines else "")
                ET.SubElement(case, kind, message=first).text = _clean(result.text())
    path.parent.mkdir(parents=True, exist_ok=True)
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _clean(text: str) -> str:
    """Without what XML cannot hold."""
    return text.translate(_NOT_XML).encode("utf-8", "replace").decode()
