"""The languages of scripts: which worker runs each, imported before the worker is forked and locked in.

A locked worker can read no file, so what it needs must be there. The zygote imports Python's at its start and the
others' when the first script of the kind comes: who has none does not pay for them.
"""

import gc
import importlib
import sys

from flowcore.script.worker import Worker

_WORKERS = {
    "python": ("flowcore.script.python", "PythonWorker"),
    "expression": ("flowcore.script.expression", "ExpressionWorker"),
    "template": ("flowcore.script.template", "TemplateWorker"),
    "javascript": ("flowcore.script.javascript", "JavaScriptWorker"),
}
LANGUAGES = tuple(_WORKERS)
_brought: dict[str, object] = {}  # modules that are there for one language only; held, so that none is taken apart


def worker_class(language: str) -> type[Worker]:
    """The class of a language's worker, imported with all that it needs.

    Raises:
        ValueError: there is no such language, or a library of it cannot be imported.
    """
    try:
        module, name = _WORKERS[language]
    except KeyError:
        raise ValueError(f"no scripts in {language[:40]!r} (there is: {', '.join(LANGUAGES)})") from None
    before = set(sys.modules)
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as e:  # whatever an import may raise; the zygote goes on
        raise ValueError(f"scripts in {language} can't be run: {type(e).__name__}: {e}") from None
    finally:
        if language not in ("python", "expression"):
            _brought.update({name: sys.modules[name] for name in set(sys.modules) - before})
            gc.freeze()  # no collection in a worker touches, and so copies, what it shares with the zygote


def forget_others() -> None:
    """In a Python worker: what was imported for other languages is not there, whatever ran before."""
    for name in _brought:
        sys.modules.pop(name, None)
