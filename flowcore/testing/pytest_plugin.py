"""Flow tests under pytest: `*.test.json` files as tests, and the fixture `flow` for tests in Python.

Files are collected when they are named, with `--flow-tests`, or where the ini file says `flow_tests = true`. All tests
of a session share one runtime, which is started with the first.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flowcore.testing.python import Bench, Flow

SUFFIX = ".test.json"  # `flowcore.testing.names` has it, too: here nothing is imported before it is used
_BENCH: "pytest.StashKey[Bench]" = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """How files are collected."""
    text = "Collect flow tests, too: *.test.json files beside flows"
    parser.getgroup("flowcore").addoption("--flow-tests", action="store_true", help=text)
    parser.addini("flow_tests", text, type="bool", default=False)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "FlowTests | None":
    """A test file of a flow."""
    if not file_path.name.endswith(SUFFIX):
        return None
    config = parent.config
    if config.getoption("flow_tests") or config.getini("flow_tests") or parent.session.isinitpath(file_path):
        return FlowTests.from_parent(parent, path=file_path)
    return None


def pytest_configure(config: pytest.Config) -> None:
    """Agents lie in `flows/agents`, as they do for `flowcore up` in this folder."""
    os.environ.setdefault("FLOWCORE_AGENTS", str(config.rootpath / "flows" / "agents"))


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the runtime."""
    bench = config.stash.get(_BENCH, None)
    if bench is not None:
        del config.stash[_BENCH]
        bench.close()


def _bench(config: pytest.Config) -> "Bench":
    """The runtime of this session; started now, if nobody has asked for it before."""
    if _BENCH not in config.stash:
        from flowcore.testing.python import Bench

        config.stash[_BENCH] = Bench()
    return config.stash[_BENCH]


class FlowTests(pytest.File):
    """The cases of one file."""

    def collect(self) -> Iterator["FlowCase"]:
        """Its cases; what else is wrong with the file is told when one is run."""
        from flowcore.flow.source import Source, SourceError

        try:
            source = Source(self.path.read_bytes())
        except SourceError as e:
            raise self.CollectError(f"{self.path}:{e.line}: {e}") from None
        cases = source.value.get("cases") if isinstance(source.value, dict) else None
        names = [case.get("name") if isinstance(case, dict) else None for case in cases or ()]
        if not names or not all(isinstance(name, str) for name in names):
            raise self.CollectError(f"{self.path}: no cases with names: flowcore validate {self.path} says more")
        for index, name in enumerate(names):
            yield FlowCase.from_parent(self, name=name, line=source.line(f"/cases/{index}"))


class FlowCase(pytest.Item):
    """One case."""

    def __init__(self, *, line: int, **others: Any) -> None:
        super().__init__(**others)
        self._line = line

    def runtest(self) -> None:
        """Run it in the session's runtime."""
        result = _bench(self.config).run(self.path, self.name)
        if result.outcome == "skipped":
            pytest.skip(result.lines[0])
        if result.outcome != "passed":
            raise CaseFailed(result.text())

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The difference, without our own frames."""
        from flowcore.testing.trial import NotRunnable

        if isinstance(excinfo.value, (CaseFailed, NotRunnable)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """File, line from 0, name."""
        return self.path, self._line - 1, self.name


class CaseFailed(AssertionError):
    """A case of a test file failed; the text says where and how."""


@pytest.fixture
def flow(request: pytest.FixtureRequest) -> Iterator[Callable[..., "Flow"]]:
    """Deploys a flow in a runtime of its own: `flow("flows/factory.json", stubs={"sensors": "source"})`.

    Args of what it gives:
        file: the flow's file, relative to the working directory or to the test's file; or the document itself.
        env: values in place of those of the flow; `${TEST_DIR}` is a folder of this test.
        stubs: node -> "source", "sink", "never", or {"reply": ..}, {"replies": [..]}, {"answers": [..]}, {"fails": 2}.
        real: nodes that reach beyond the flow, and are meant to.
        secrets: what the flow finds.
        clock: "moved" (stands still until it is moved) or "real".
        begins: when it is at the beginning, "2026-03-01T08:00:00Z".
        errors: "fail": what fails, and is not expected, fails the test; "allow".
    """
    made: list[Flow] = []

    def deploy(file: "str | Path | dict[str, Any]", **around: Any) -> "Flow":
        from flowcore.testing.python import read

        if isinstance(file, dict):
            path, document = Path(f"{file.get('id', 'flow')}.json"), file
        else:
            path = Path(file) if Path(file).exists() else request.path.parent / file
            document = read(path)
        made.append(_bench(request.config).deploy(path, document, **around))
        return made[-1]

    yield deploy
    for one in made:
        one.close()
