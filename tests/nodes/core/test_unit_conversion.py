"""`core/unit-conversion`: against the definitions of the units; what does not measure the same is refused."""

import re

import numpy as np
import pytest
from flowcore_nodes.core.unit_conversion import UnitConversion
from pydantic import ValidationError

from flowcore.node.testing import drive


def node_for(from_unit, to_unit, **more):
    return drive(UnitConversion, conversions=[{"from_unit": from_unit, "to_unit": to_unit, **more}])


@pytest.mark.parametrize(
    ("given", "from_unit", "to_unit", "expected"),
    [
        (212, "degF", "degC", 100),
        (-40.0, "°F", "°C", -40),
        (0, "degC", "K", 273.15),
        (9, "delta_degF", "delta_degC", 5),
        (1, "psi", "bar", 0.45359237 * 9.80665 / 0.0254**2 / 1e5),
        (1, "bar", "kPa", 100),
        (1, "gallon/min", "m³/h", 231 * 0.0254**3 * 60),
        (3.6, "km/h", "m/s", 1),
        (1, "kWh", "MJ", 3.6),
        (1, "N*m", "J", 1),
        (60, "rpm", "Hz", 1),
        (1, "kHz", "rad/s", 2000 * np.pi),
        (1, "in", "mm", 25.4),
        (1, "horsepower", "W", 550 * 0.3048 * 0.45359237 * 9.80665),
        (50, "%", "dimensionless", 0.5),
        (1, "kg m^2/s**2", "J", 1),
        (1, "1/s", "Hz", 1),
        (250, "µm", "mm", 0.25),
    ],
)
async def test_numbers_by_the_definitions_of_their_units(given, from_unit, to_unit, expected):
    async with node_for(from_unit, to_unit) as node:
        await node.put(given)
        assert await node.sent() == [pytest.approx(expected, rel=1e-12)], node.errors


async def test_texts_lists_arrays_and_units_of_the_message():
    async with node_for("", "degC", digits=1) as node:
        await node.put("68 °F", "293.15K", " -4.5e1 degF")
        assert await node.sent() == [20.0, 20.0, -42.8]
    both = {"from_unit": {"$message": "unit"}, "to_unit": {"$message": "meta.to"}, "path": "v", "result": "converted"}
    async with drive(UnitConversion, conversions=[both]) as node:
        await node.put({"v": [1, 2.5], "unit": "m"}, meta={"to": "mm"})
        (made,) = await node.sent()
        assert made == {"v": [1, 2.5], "unit": "m", "converted": [1000.0, 2500.0]}
    async with node_for("bar", "mbar") as node:
        await node.put(np.array([[1, 2], [3, 4]], np.int16))
        (array,) = await node.sent()
        assert array.shape == (2, 2) and np.array_equal(array, [[1000, 2000], [3000, 4000]])


async def test_bad_input_is_an_error_of_its_message():
    bad = [
        ({"v": "1", "u": "m"}, "a number is needed, got str '1'"),
        ({"v": True, "u": "m"}, "a number is needed, got bool"),
        ({"v": [1, None], "u": "m"}, "a list of numbers"),
        ({"v": 1, "u": "second"}, "do not measure the same: \\[time\\] and \\[length\\]"),
        ({"v": 1, "u": "metre_"}, "did you mean 'metre'"),
        ({"v": 1, "u": "m**9**9**9**9"}, "is no unit; write it as"),
        ({"v": 1, "u": "__import__('os')"}, "is no unit; write it as"),
        ({"v": 1, "u": "m" * 5000}, "is no unit"),
        ({"v": 1, "u": None}, "a unit is needed, got 'None'"),
        ({"v": 1, "u": 5}, "a unit is needed, got '5'"),
        ({"u": "m"}, "nothing at 'v'"),
    ]
    async with node_for({"$message": "u"}, "mm", path="v") as node:
        await node.put(*(value for value, _ in bad), {"v": 1, "u": "m"})
        assert [one["v"] for one in await node.sent()] == [1000.0]
        assert len(node.errors) == len(bad)
        for error, (value, text) in zip(node.errors, bad, strict=True):
            assert re.search(text, error["text"]), value


def test_units_that_do_not_fit_are_refused_when_the_flow_is():
    for one, text in (
        ({"from_unit": "bar", "to_unit": "degC"}, "bar and degree_Celsius do not measure the same"),
        ({"from_unit": "bra", "to_unit": "bar"}, "'bra' is no unit that is known; did you mean"),
        ({"from_unit": "bar", "to_unit": ""}, "to_unit must be the name of a unit"),
        ({"from_unit": 5, "to_unit": "bar"}, "from_unit must be the name"),
        ({"from_unit": "bar", "to_unit": "mbar", "path": "id"}, "id"),
    ):
        with pytest.raises(ValidationError, match=text):
            UnitConversion.Config(conversions=[one])
