"""A line of Python, as `core/expression` runs it: its value for each message, and nothing else."""

import ast
from types import CodeType
from typing import Any

from flowcore.script import frames
from flowcore.script.python import PythonWorker
from flowcore.script.source import FILE, ScriptSyntax, function_of, syntax_error
from flowcore.script.stand_in import pack

_SCOPE = ("payload", "topic", "meta")


class ExpressionWorker(PythonWorker):
    """Sends the value of an expression as the payload of output 0, whatever it is."""

    def _compiled(self, setup: dict[str, Any]) -> CodeType:
        return compile_expression(setup["script"])

    def begin(self, context: dict[str, Any]) -> bytes:
        packed = super().begin(context)
        self._turn.take = self._take  # type: ignore[assignment,method-assign]
        return packed

    def _take(self, value: Any) -> None:
        if type(value) is type(self._turn.current):
            raise TypeError("the value is the whole message; write msg.payload, or another part of it")
        packed = pack((0, value, "", {}))
        if len(packed) > frames.MAX_OUTPUT:
            raise ValueError(f"a value of {len(packed):,} bytes; at most {frames.MAX_OUTPUT:,} can be sent")
        self._turn.outputs.append(packed)


def compile_expression(source: str) -> CodeType:
    """Compile an expression to code that defines `on_message(msg)`, which sees the parts of msg by name.

    Raises:
        ScriptSyntax: with the line.
    """
    if not source.strip():
        raise ScriptSyntax("there is no expression", None)
    try:
        value = ast.parse(source.strip(), FILE, "eval").body
        parts = [
            ast.Assign(
                [ast.Name(part, ast.Store())], ast.Attribute(ast.Name("msg", ast.Load()), part, ast.Load()), lineno=1
            )
            for part in _SCOPE
        ]
        module = ast.Module([function_of([*parts, ast.Return(value, lineno=1, col_offset=0)])], [])
        return compile(ast.fix_missing_locations(module), FILE, "exec", dont_inherit=True)
    except SyntaxError as e:
        error = syntax_error(e)
        if any(word in source for word in ("=", "return", "import", ";", "\n")):
            error.args = (f"{error} (an expression is one value, without assignment or statement)",)
        raise error from None
    except (ValueError, RecursionError, MemoryError, OverflowError) as e:  # null bytes; nested too deeply
        raise ScriptSyntax(f"{type(e).__name__}: {e}" if str(e) else type(e).__name__) from None
