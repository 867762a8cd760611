"""Where tests lie: `factory.test.json` beside `factory.json`."""

from pathlib import Path

SUFFIX = ".test.json"


def is_tests(file: Path) -> bool:
    """Whether a file has the name of a test file."""
    return file.name.endswith(SUFFIX)


def tests_of(flow: Path) -> Path:
    """The test file beside a flow's file; a test file is its own."""
    return flow if is_tests(flow) else flow.with_name(f"{flow.stem}{SUFFIX}")


def flow_of(file: Path, named: str) -> Path:
    """The flow's file that a test file is for; `named`: what it says itself."""
    return file.parent / named if named else file.with_name(f"{file.name.removesuffix(SUFFIX)}.json")
