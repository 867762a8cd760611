import math
from typing import Any

from pydantic import model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Tensor, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.path_fields import WritePath, WritePathOrEmpty
from flowcore_nodes.core.units import BadUnit, checked_pair, convert, quantity_of, registry
from flowcore_nodes.core.values import Operand, check_value, reference_kind


class Conversion(NodeConfig):
    """One value, and the units it has and gets."""

    path: WritePath = field("payload", description="The number, list of numbers or array: payload, payload.temp_f ...")
    from_unit: Any = field(
        "",
        description='Its unit, such as degF, bar or m³/h; {"$message": "payload.unit"}: it is in the message; empty: '
        'the value is a text with its unit, such as "20.5 °C"',
        dynamic=True,
    )
    to_unit: Any = field(..., description='The unit it gets, or {"$message": path}', dynamic=True)
    result: WritePathOrEmpty = field("", description="Where the result goes; empty: in the value's place")
    digits: int | None = field(None, ge=0, le=15, description="Digits behind the point it is rounded to; empty: all")

    @model_validator(mode="after")
    def _fit(self) -> "Conversion":
        fixed = []
        for what, unit in (("from_unit", self.from_unit), ("to_unit", self.to_unit)):
            if reference_kind(unit) is not None:
                check_value(unit)
            elif not isinstance(unit, str) or (not unit and what == "to_unit"):
                raise ValueError(f"{what} must be the name of a unit")
            elif unit:
                fixed.append(unit)
        checked_pair(*fixed)
        return self


class UnitConversion(Node):
    """Convert numbers from one unit to another: °F to °C, psi to bar, gallons a minute to m³/h.

    Units are those of pint: SI with prefixes, imperial and US ones, and what is made of them with *, / and powers.
    Temperatures are points on their scale; differences are `delta_degC`. 60 rpm are 1 Hz, and 2 pi rad/s. Units that do
    not measure the same are refused when the flow is deployed, those in a message are an error of that message. Lists
    and arrays are converted whole.
    """

    type = "core/unit-conversion"
    title = "Unit conversion"
    category = "function"
    icon = "ruler"
    needs = ("pint",)
    install = "pip install 'flowcore[units]'"
    context = ("flow", "global")

    class Config(NodeConfig):
        conversions: list[Conversion] = field(
            ..., min_length=1, max_length=256, description="What is converted, one after the other"
        )

    in_ = In()
    out = Out(description="the message with the converted values")

    def on_start(self) -> None:
        registry()  # now, not while the first message waits
        self._steps = [
            (
                MessagePath(one.path),
                Operand(self, one.from_unit),
                Operand(self, one.to_unit),
                MessagePath(one.result or one.path),
                one.digits,
            )
            for one in self.config.conversions
        ]

    def on_reconfigure(self, old: Any) -> None:
        self.on_start()

    async def on_message(self, message: Message) -> Message:
        made = message.derive()
        for path, from_unit, to_unit, result, digits in self._steps:
            value = path.get(made)
            try:
                unit = await from_unit.fetch(made)
                if unit == "":
                    value, unit = quantity_of(value)
                number = convert(_numbers(value), unit, await to_unit.fetch(made))
                number = number.tolist() if isinstance(value, (list, tuple)) else number
            except BadUnit as e:
                raise GiveUp(f"{path.text}: {e}") from None
            result.set(made, _rounded(number, digits))
        return made


def _numbers(value: Any) -> Any:
    """A number as it is, lists and arrays of numbers as an array."""
    import numpy as np

    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, (list, tuple)):
        wrong = next((one for one in value if isinstance(one, bool) or not isinstance(one, (int, float))), None)
        if wrong is None and all(one is not None for one in value):
            return np.asarray(value, np.float64)
        raise BadUnit(f"a list of numbers is needed, this one has {str(wrong)[:40]!r} in it")
    array = value.numpy() if isinstance(value, Tensor) else value
    if isinstance(array, np.ndarray) and array.dtype.kind in "iuf":
        return array if array.dtype.kind == "f" and array.dtype.itemsize >= 4 else array.astype(np.float64)
    raise BadUnit(f"a number is needed, got {type(value).__name__} {str(value)[:40]!r}")


def _rounded(number: Any, digits: int | None) -> Any:
    import numpy as np

    if isinstance(number, np.ndarray):
        return number if digits is None else np.round(number, digits)
    if isinstance(number, list):
        return [_rounded(one, digits) for one in number]
    if digits is None or not math.isfinite(number):
        return float(number)
    return round(float(number), digits)
