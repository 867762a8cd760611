"""A template, as `core/template` fills it in: Jinja2, mustache as Node-RED has it, or plain text; then JSON or YAML."""

import json
import re
from collections.abc import Callable
from typing import Any

import jinja2
import jinja2.debug  # what an error needs, and would be imported then
import jinja2.sandbox
import yaml

from flowcore.script import frames, inside, mustache
from flowcore.script.python import PythonWorker
from flowcore.script.source import FILE, ScriptSyntax
from flowcore.script.stand_in import pack
from flowcore.script.worker import Results, plain

_KEPT = 64  # compiled templates that came with messages


class TemplateWorker(PythonWorker):
    """Sends what a template becomes as the payload of output 0."""

    has_only_python = False

    def prepare(self, setup: dict[str, Any]) -> None:
        options = setup["options"]
        self._syntax, self._output = options["syntax"], options["output"]
        self._jinja = jinja2.sandbox.ImmutableSandboxedEnvironment(
            undefined=jinja2.StrictUndefined if options["strict"] else jinja2.Undefined,
            keep_trailing_newline=True,
            autoescape=False,
        )
        self._jinja.globals |= {"env": setup["env"], "flow": _Shared(self._ask, "flow"),
                                "global": _Shared(self._ask, "global")}  # fmt: skip
        self._env = setup["env"]
        self._templates: dict[str, Callable[[inside.Msg], str]] = {}
        self._own = setup["script"]
        super().prepare(setup)

    def _compiled(self, setup: dict[str, Any]) -> Any:
        try:
            self._filler(self._own)
        except _Wrong as e:
            raise ScriptSyntax(str(e), e.line) from None
        return compile("", FILE, "exec")

    def begin(self, context: dict[str, Any]) -> bytes:
        return self._packed(None)

    def call(self, base: int, items: list) -> None:
        page, turn = self._page, self._turn
        results = Results(self, base)
        self._running = True
        for number, (payload, topic, meta) in enumerate(items, base):
            page[0] = number
            msg = inside.Msg(payload, topic, meta)
            turn.begin(msg)
            try:
                template = self._own or meta.get("template", "")
                if type(template) is not str:
                    raise TypeError(f"msg.template is {type(template).__name__}, not a text")
                value = self._parsed(self._filler(template)(msg))
                packed = pack((0, value, "", {}))
                if len(packed) > frames.MAX_OUTPUT:
                    raise ValueError(f"{len(packed):,} bytes; at most {frames.MAX_OUTPUT:,} can be sent")
                turn.outputs.append(packed)
                result = plain(turn.outputs)
            except BaseException as e:
                result = self._failed(e, self._context)
            results.add(result)
        self._running = False
        results.flush()

    def _described(self, error: BaseException) -> list:
        if isinstance(error, _Wrong):
            return ["TemplateSyntaxError", str(error), error.line, ""]
        described = super()._described(error)
        traceback = error.__traceback__
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename == "<template>":  # Jinja2 has given it the template's lines
                described[2] = traceback.tb_lineno
            traceback = traceback.tb_next
        return described

    # -- from template to text to value

    def _filler(self, template: str) -> Callable[[inside.Msg], str]:
        """What fills in this template, kept for the next message.

        Raises:
            _Wrong: it is none.
        """
        found = self._templates.get(template)
        if found is None:
            if len(self._templates) >= _KEPT:
                del self._templates[next(iter(self._templates))]
            found = self._templates[template] = _FILLERS[self._syntax](self, template)
        return found

    def _of_jinja(self, template: str) -> Callable[[inside.Msg], str]:
        try:
            render = self._jinja.from_string(template).render
        except jinja2.TemplateSyntaxError as e:
            raise _Wrong(e.message or "it does not compile", e.lineno) from None

        def fill(msg: inside.Msg) -> str:
            return render(msg=msg, payload=msg.payload, topic=msg.topic, meta=msg.meta)

        return fill

    def _of_mustache(self, template: str) -> Callable[[inside.Msg], str]:
        try:
            parsed = mustache.Mustache(template)
        except mustache.BadTemplate as e:
            raise _Wrong(str(e), None) from None
        escapes_json = self._output == "json"

        def fill(msg: inside.Msg) -> str:
            view = {**msg.meta, "payload": msg.payload, "topic": msg.topic}
            return parsed.render(view, self._outside, escapes_json=escapes_json)

        return fill

    def _plain(self, template: str) -> Callable[[inside.Msg], str]:
        return lambda msg: template

    def _outside(self, scope: str, name: str) -> Any:
        """The value of `flow.x.y`, `global.x`, `env.X`."""
        if scope == "env":
            return self._env.get(name)
        first, _, rest = name.partition(".")
        value = self._ask(scope, "get", first, None)
        return mustache.look_in(value, rest) if rest else value

    def _parsed(self, text: str) -> Any:
        if self._output == "json":
            try:
                return json.loads(text, parse_constant=_refuse)
            except json.JSONDecodeError as e:
                raise ValueError(f"not JSON: {e.msg} at line {e.lineno} column {e.colno} of {text[:200]!r}") from None
        if self._output == "yaml":
            try:
                return yaml.load(text, _Yaml)
            except yaml.YAMLError as e:
                raise ValueError(f"not YAML: {e}") from None
        return text


_FILLERS = {"jinja2": TemplateWorker._of_jinja, "mustache": TemplateWorker._of_mustache, "plain": TemplateWorker._plain}


class _Wrong(Exception):
    """A template that does not compile."""

    def __init__(self, text: str, line: int | None) -> None:
        super().__init__(text)
        self.line = line


class _Shared:
    """`flow` and `global` in a template: `{{ flow.limit }}`, `{{ flow["the limit"] }}`, `{{ flow.get("x", 1) }}`."""

    def __init__(self, ask: Callable[[str, str, str, Any], Any], scope: str) -> None:
        self._context = inside.SharedContext(ask, scope)
        self.get = self._context.get

    def __getitem__(self, key: str) -> Any:
        return self._context.get(key)


def _refuse(constant: str) -> None:
    raise ValueError(f"not JSON: {constant} is no number of JSON")


class _Yaml(yaml.SafeLoader):
    """YAML 1.2 in what surprises: `no` is a text, dates are texts."""


_Yaml.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":bool"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Yaml.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
