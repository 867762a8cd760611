"""Simple JSONata as JavaScript: paths, arithmetic, comparisons, texts, conditions and the functions of every day.

`expression` gives the code and names the helpers that it needs. What selects, maps with `.()`, sorts, defines functions
or binds variables is not simple, and is told so.
"""

from __future__ import annotations

import json
import re

from flowcore.convert.nodered.findings import CannotTurn

_TOKEN = re.compile(
    r"""\s+ | /\*.*?\*/ |
    (?P<number>\d+(?:\.\d+)?(?:[eE][-+]?\d+)?) | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*') |
    (?P<quoted>`[^`]+`) | (?P<name>\$?[A-Za-z_]\w*|\$\$?) |
    (?P<sign>!=|<=|>=|:=|\*\*|~>|\.\.|[-+*/%&=<>?:.,()\[\]{}|^@\#;])""",
    re.VERBOSE | re.DOTALL,
)

HELPERS = {
    "at": "const at = (from, key) => {\n"
    "    if (!Array.isArray(from)) return from === null || typeof from !== 'object' ? undefined : from[key];\n"
    "    const found = from.map((one) => at(one, key)).flat().filter((one) => one !== undefined);\n"
    "    return found.length > 1 ? found : found[0];\n};",
    "calc": "const calc = (a, b, how) => {\n"
    "    if (a === undefined || b === undefined) return undefined;\n"
    "    if (typeof a !== 'number' || typeof b !== 'number') throw new Error('only numbers can be calculated with');\n"
    "    return how(a, b);\n};",
    "text": "const text = (x) => x === undefined ? '' : typeof x === 'string' ? x : JSON.stringify(x);",
    "truth": "const truth = (x) => Array.isArray(x) ? x.some(truth)\n"
    "    : x !== null && typeof x === 'object' ? Object.keys(x).length > 0 : Boolean(x);",
    "same": "const same = (a, b) => a !== undefined && (a === b || JSON.stringify(a) === JSON.stringify(b));",
    "list": "const list = (x) => x === undefined ? [] : Array.isArray(x) ? x : [x];",
    "when": "const when = (x, how) => x === undefined ? undefined : how(x);",
}

_CALCULATED = {"+": "a + b", "-": "a - b", "*": "a * b", "/": "a / b", "%": "a % b"}
_ORDERED = ("<", "<=", ">", ">=")
_STRENGTH = {"or": 25, "and": 30, "=": 40, "!=": 40, "<": 40, "<=": 40, ">": 40, ">=": 40, "&": 50, "+": 50, "-": 50,
             "*": 60, "/": 60, "%": 60}  # fmt: skip

# Functions: how many arguments they may have, and the JavaScript for them; {0} is the first.
_FUNCTIONS: dict[str, tuple[tuple[int, ...], str]] = {
    "string": ((1,), "when({0}, text)"),
    "number": ((1,), "when({0}, Number)"),
    "boolean": ((1,), "when({0}, truth)"),
    "not": ((1,), "when({0}, (x) => !truth(x))"),
    "exists": ((1,), "({0} !== undefined)"),
    "uppercase": ((1,), "when({0}, (x) => x.toUpperCase())"),
    "lowercase": ((1,), "when({0}, (x) => x.toLowerCase())"),
    "length": ((1,), "when({0}, (x) => [...x].length)"),
    "trim": ((1,), r"when({0}, (x) => x.replace(/\s+/g, ' ').trim())"),
    "contains": ((2,), "when({0}, (x) => x.includes({1}))"),
    "split": ((2,), "when({0}, (x) => x.split({1}))"),
    "join": ((1, 2), "list({0}).join({1})"),
    "substringBefore": ((2,), "when({0}, (x) => x.includes({1}) ? x.slice(0, x.indexOf({1})) : x)"),
    "substringAfter": ((2,), "when({0}, (x) => x.includes({1}) ? x.slice(x.indexOf({1}) + {1}.length) : x)"),
    "abs": ((1,), "when({0}, Math.abs)"),
    "floor": ((1,), "when({0}, Math.floor)"),
    "ceil": ((1,), "when({0}, Math.ceil)"),
    "sqrt": ((1,), "when({0}, Math.sqrt)"),
    "power": ((2,), "calc({0}, {1}, (a, b) => a ** b)"),
    "sum": ((1,), "when({0}, (x) => list(x).reduce((a, b) => a + b, 0))"),
    "max": ((1,), "when({0}, (x) => Math.max(...list(x)))"),
    "min": ((1,), "when({0}, (x) => Math.min(...list(x)))"),
    "average": ((1,), "when({0}, (x) => list(x).reduce((a, b) => a + b, 0) / list(x).length)"),
    "count": ((1,), "list({0}).length"),
    "keys": ((1,), "when({0}, Object.keys)"),
    "now": ((0,), "new Date().toISOString()"),
    "millis": ((0,), "Date.now()"),
    "fromMillis": ((1,), "when({0}, (x) => new Date(x).toISOString())"),
    "toMillis": ((1,), "when({0}, (x) => new Date(x).getTime())"),
    "random": ((0,), "Math.random()"),
    "flowContext": ((1,), "flow.get({0})"),
    "globalContext": ((1,), "global.get({0})"),
}


def expression(text: str) -> tuple[str, list[str]]:
    """The JavaScript for an expression, and the names of the helpers it needs.

    Raises:
        CannotTurn: it is not simple.
    """
    return _Parser(text).whole()


class _Parser:
    """Turns while it reads: each method gives the JavaScript of what it read."""

    def __init__(self, text: str) -> None:
        self._text, self._needs = text, dict[str, None]()
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._no()
            if match.lastgroup:
                self._tokens.append((match.lastgroup, match[0]))
            at = match.end()
        self._at = 0

    def _no(self) -> CannotTurn:
        return CannotTurn(f"the JSONata expression {self._text!r}", "we have no JSONata: use a core/javascript node")

    def whole(self) -> tuple[str, list[str]]:
        made = self._condition()
        if self._at < len(self._tokens):
            raise self._no()
        for name in list(self._needs):  # helpers stand on helpers
            for other in HELPERS:
                if other != name and re.search(rf"\b{other}\(", HELPERS[name]):
                    self._needs.setdefault(other)
        return made, [name for name in HELPERS if name in self._needs]

    def _need(self, code: str) -> str:
        for name in HELPERS:
            if re.search(rf"\b{name}\b", code):
                self._needs.setdefault(name)
        return code

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _take(self, wanted: str = "") -> tuple[str, str]:
        if self._at >= len(self._tokens) or (wanted and self._peek() != wanted):
            raise self._no()
        self._at += 1
        return self._tokens[self._at - 1]

    def _condition(self) -> str:
        made = self._binary(0)
        if self._peek() != "?":
            return made
        self._take("?")
        yes = self._condition()
        no = "undefined"
        if self._peek() == ":":
            self._take(":")
            no = self._condition()
        return self._need(f"(truth({made}) ? {yes} : {no})")

    def _binary(self, strength: int) -> str:
        left = self._path()
        while (sign := self._peek()) in _STRENGTH and _STRENGTH[sign] > strength:
            self._take()
            left = self._need(_joined(sign, left, self._binary(_STRENGTH[sign])))
        return left

    def _path(self) -> str:
        made = self._primary()
        while self._peek() in (".", "["):
            if self._take()[1] == ".":
                kind, name = self._take()
                if kind == "quoted":
                    name = name[1:-1]
                elif kind == "text":
                    name = self._unquoted(name)
                elif kind != "name" or name.startswith("$"):
                    raise self._no()
                made = self._need(f"at({made}, {json.dumps(name)})")
            else:
                minus = "-" if self._peek() == "-" and self._take() else ""
                kind, number = self._take()
                if kind != "number" or "." in number:
                    raise self._no()
                self._take("]")
                made = self._need(f"list({made}).at({minus}{number})")
        return made

    def _primary(self) -> str:
        kind, token = self._take()
        if kind == "number":
            return token
        if kind == "text":
            return json.dumps(self._unquoted(token))
        if token == "-":
            return self._need(f"calc(0, {self._path()}, (a, b) => a - b)")
        if token == "(":
            made = self._condition()
            self._take(")")
            return f"({made})"
        if token == "[":
            return self._need(f"[{', '.join(self._list(']'))}].flat().filter((x) => x !== undefined)")
        if kind == "quoted":
            return self._need(f"at(msg, {json.dumps(token[1:-1])})")
        if kind != "name":
            raise self._no()
        if token in ("true", "false", "null"):
            return token
        if token in ("$", "$$"):
            return "msg"
        if token.startswith("$"):
            return self._call(token[1:])
        if token in _STRENGTH or token in ("in", "function"):
            raise self._no()
        return self._need(f"at(msg, {json.dumps(token)})")

    def _call(self, name: str) -> str:
        if self._peek() != "(":
            raise self._no()
        self._take("(")
        given = self._list(")")
        if name not in _FUNCTIONS:
            raise self._no()
        counts, code = _FUNCTIONS[name]
        if len(given) not in counts:
            raise self._no()
        if name == "join" and len(given) == 1:
            given.append('""')
        return self._need(re.sub(r"\{(\d)\}", lambda match: given[int(match[1])], code))

    def _unquoted(self, token: str) -> str:
        if token[0] == "'":
            token = '"' + token[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'
        try:
            return str(json.loads(token, strict=False))
        except ValueError:
            raise self._no() from None

    def _list(self, end: str) -> list[str]:
        found: list[str] = []
        while self._peek() != end:
            if found:
                self._take(",")
            found.append(self._condition())
        self._take(end)
        return found


def _joined(sign: str, left: str, right: str) -> str:
    """Two values and what is between them."""
    if sign in _CALCULATED:
        return f"calc({left}, {right}, (a, b) => {_CALCULATED[sign]})"
    if sign == "&":
        return f"(text({left}) + text({right}))"
    if sign in _ORDERED:
        return f"({left} {sign} {right})"
    if sign in ("=", "!="):
        return f"{'!' if sign == '!=' else ''}same({left}, {right})"
    return f"(truth({left}) {'&&' if sign == 'and' else '||'} truth({right}))"
