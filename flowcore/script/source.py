"""A script's source made into handlers: the body of a function, or a module that defines `on_message`.

Runs only inside a locked worker: compiling is already running somebody's code as far as the parser's memory goes.

    ScriptSyntax   it does not compile; has the line in the user's own text
"""

import ast
from types import CodeType, TracebackType
from typing import Any

FILE = "<script>"
HANDLERS = ("on_start", "on_message", "on_stop")


class ScriptSyntax(Exception):
    """The script does not compile; `line` counts from 1 in the user's text, None when there is no one place."""

    def __init__(self, text: str, line: int | None = None) -> None:
        super().__init__(text)
        self.line = line


def compile_script(source: str) -> CodeType:
    """Compile a script to module code that defines `on_message(msg)`, and perhaps `on_start()` and `on_stop()`.

    A script without a top-level `def on_message` is the body of that function. It is wrapped as a tree, not as text:
    line numbers stay the user's, and text in triple quotes keeps its indentation.

    Raises:
        ScriptSyntax: with the line.
    """
    try:
        tree = ast.parse(source, FILE)
        defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        for name in HANDLERS:
            if isinstance(defined.get(name), ast.AsyncFunctionDef):
                raise ScriptSyntax(f"'{name}' is async; a script's handlers are plain functions", defined[name].lineno)
        if "on_message" not in defined:
            for name in ("on_start", "on_stop"):
                if name in defined:
                    line = defined[name].lineno
                    raise ScriptSyntax(f"'{name}' is only called in a script that defines 'on_message(msg)'", line)
            tree.body = [function_of(tree.body)]
        return compile(ast.fix_missing_locations(tree), FILE, "exec", dont_inherit=True)
    except SyntaxError as e:
        raise syntax_error(e) from None
    except (ValueError, RecursionError, MemoryError, OverflowError) as e:  # null bytes; nested too deeply
        raise ScriptSyntax(f"{type(e).__name__}: {e}" if str(e) else type(e).__name__) from None


def syntax_error(error: SyntaxError) -> ScriptSyntax:
    """What Python's compiler says, with the line's text."""
    shown = f": {error.text.strip()}" if error.text and error.text.strip() else ""
    return ScriptSyntax(f"{error.msg}{shown}", error.lineno)


def function_of(body: list[ast.stmt]) -> ast.FunctionDef:
    """`on_message(msg)` with this body."""
    arguments = ast.arguments([], [ast.arg("msg", lineno=1, col_offset=0)], None, [], [], None, [])
    at: dict[str, Any] = {"lineno": 1, "col_offset": 0, "end_lineno": 1, "end_col_offset": 0}
    function = ast.FunctionDef("on_message", arguments, body or [ast.Pass(**at)], [], **at)
    if hasattr(function, "type_params") or "type_params" in ast.FunctionDef._fields:
        function.type_params = []  # type: ignore[attr-defined]  # Python 3.12 on
    return function


def describe(error: BaseException, source_lines: list[str]) -> list[Any]:
    """An exception of the script as [type, text, line, traceback], with the lines of the user's script alone."""
    try:
        text = str(error)[:2000]
    except BaseException as e:
        text = f"(its text failed with {type(e).__name__})"
    frames = _frames(error.__traceback__, source_lines)
    if isinstance(error, SyntaxError) and error.filename == FILE:
        frames.append((error.lineno or 0, "", ""))
    kind = type(error).__name__[:100]
    return [kind, text, frames[-1][0] if frames else None, render(frames, f"{kind}: {text}" if text else kind)]


def _frames(traceback: TracebackType | None, source_lines: list[str]) -> list[tuple[int, str, str]]:
    frames = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_filename == FILE:
            frames.append(place(traceback.tb_lineno, code.co_name, source_lines))
        traceback = traceback.tb_next
    return frames


def place(line: int, function: str, source_lines: list[str]) -> tuple[int, str, str]:
    """(line, function, the line's text)."""
    text = source_lines[line - 1].strip()[:200] if 0 < line <= len(source_lines) else ""
    return line, function, text


def render(frames: list[tuple[int, str, str]], last: str) -> str:
    """A traceback as Python prints it, of at most twenty frames."""
    if len(frames) > 20:
        frames = [*frames[:10], (0, f"... {len(frames) - 20} more ...", ""), *frames[-10:]]
    lines = []
    for line, function, text in frames:
        lines.append(f"  line {line}" + (f", in {function}" if function else "") if line else f"  {function}")
        if text:
            lines.append(f"    {text}")
    return "\n".join([*lines, last])
