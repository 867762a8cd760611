"""Ports: what a node class declares with `In` and `Out`, and whether a payload fits.

The type of a port is a Python annotation (`float`, `str`, `dict`, a pydantic model, `Any`) or one of the names that
`flowcore.flow.types` knows (`"time"`, `"frame"`, `"tensor[float32, 3, 224, 224]"`).

    PortTypeError   a payload that does not fit the port it came in by
"""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ValidationError

from flowcore.buffers.matches import mismatch

NAMES: dict[Any, str] = {
    Any: "any",
    object: "any",
    bool: "bool",
    int: "number",
    float: "number",
    str: "text",
    bytes: "bytes",
    list: "list",
    tuple: "list",
    dict: "map",
}
_CLASSES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "number": (int, float),
    "text": (str,),
    "bytes": (bytes,),
    "list": (list, tuple),
    "map": (dict,),
}


class PortTypeError(TypeError):
    """A payload does not fit the type of the port it came in by."""

    def __init__(self, port: str, expected: str, payload: Any, detail: str = "") -> None:
        self.port, self.expected = port, expected
        got = {bool: "bool", int: "number", float: "number", str: "text", dict: "map", type(None): "nothing"}.get(
            type(payload), type(payload).__name__
        )
        if hasattr(payload, "shape") and hasattr(payload, "dtype"):
            got = f"a tensor of {payload.dtype} {tuple(payload.shape)}"
        super().__init__(f"port '{port}' takes {expected}, got {got}{': ' + detail if detail else ''}")


class Port:
    """A named, typed way in or out of a node. Author code uses `In` and `Out`."""

    is_aside = False

    def __init__(self, type: Any = Any, description: str = "") -> None:
        self.name = ""
        self.annotation = type
        self.description = description

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.rstrip("_")  # `in_` is the port "in"

    @property
    def type_name(self) -> str:
        """The type as the flow document knows it: "number", "map", "model:Detections" ..."""
        annotation = self.annotation
        if isinstance(annotation, str):
            return annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return f"model:{annotation.__name__}"
        return NAMES.get(annotation, "any")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.type_name})"


class In(Port):
    """An input: `value = In(float)`.

    With `aside=True` it is no input of the flow file: only deploys wire it. What comes in by it waits for no handler
    and for nothing before it: it goes to the class's `on_aside(message)` at once, on the event loop, and is acked then.
    """

    def __init__(self, type: Any = Any, description: str = "", *, aside: bool = False) -> None:
        super().__init__(type, description)
        self.is_aside = aside

    def checker(self) -> Callable[[Any], Any] | None:
        """A function that returns the payload as the handler gets it, or raises PortTypeError; None: all fit."""
        name, annotation, type_name = self.name, self.annotation, self.type_name
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):

            def check_model(payload: Any) -> Any:
                try:
                    return payload if isinstance(payload, annotation) else annotation.model_validate(payload)
                except ValidationError as e:
                    first = e.errors()[0]
                    where = ".".join(str(part) for part in first["loc"]) or "it"
                    raise PortTypeError(name, annotation.__name__, payload, f"{where}: {first['msg']}") from None

            return check_model
        if type_name == "frame" or type_name.startswith("tensor"):

            def check_tensor(payload: Any) -> Any:
                if mismatch(payload, type_name) is not None:
                    raise PortTypeError(name, type_name, payload)
                return payload

            return check_tensor
        classes = _CLASSES.get(type_name)
        if classes is None:
            return None

        def check(payload: Any) -> Any:
            if not isinstance(payload, classes) or (type_name == "number" and isinstance(payload, bool)):
                raise PortTypeError(name, type_name, payload)
            return payload

        return check


class Out(Port):
    """An output: `scaled = Out(float)`."""


class Outputs(dict):
    """Values for several outputs, by port name: `return Outputs(scaled=x, rest=y)`."""

    def __init__(self, _ports: dict[str, Any] | None = None, /, **ports: Any) -> None:
        super().__init__(_ports or {}, **ports)
