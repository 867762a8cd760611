"""What `flowcore simulate` plays: machines that publish, and stations that are spoken to, alone or as a set."""

from collections.abc import Callable
from typing import Any

import pluggy

from flowcore_nodes.iot.simulated.machine import Machine
from flowcore_nodes.iot.simulated.truck import Truck

__all__ = ["Machine", "Truck", "simulators"]


def _air(number: int, seed: int) -> Any:
    from flowcore_nodes.iot.simulated.model import Air
    from flowcore_nodes.iot.simulated.stations import ModbusStation, Register

    return ModbusStation(
        Air("air", seed), 5020,
        {
            "supply_c": Register(0, "h", 0.1), "setpoint_c": Register(1, "h", 0.1), "fan_pct": Register(2, "H"),
            "filter_pa": Register(3, "H"), "power_kw": Register(4, "f"), "energy_wh": Register(6, "Q"),
            "running": Register(0, "?"), "alarm": Register(1, "?"),
        },
    )  # fmt: skip


def _belt(number: int, seed: int) -> Any:
    from flowcore_nodes.iot.simulated.model import Belt
    from flowcore_nodes.iot.simulated.stations import ModbusStation, Register

    return ModbusStation(
        Belt("belt", seed), 5021,
        {
            "speed_m_s": Register(0, "H", 0.01), "motor_a": Register(1, "H", 0.01), "parts": Register(2, "I"),
            "running": Register(0, "?"), "jam": Register(1, "?"),
        },
    )  # fmt: skip


def _rooms(number: int, seed: int) -> Any:
    from flowcore_nodes.iot.simulated.model import Rooms
    from flowcore_nodes.iot.simulated.stations import OpcuaStation

    return OpcuaStation(Rooms("rooms", seed), 4840)


def _press(number: int, seed: int) -> Any:
    from flowcore_nodes.iot.simulated.model import Press
    from flowcore_nodes.iot.simulated.stations import OpcuaStation

    return OpcuaStation(Press("press", seed), 4841)


def _meter(number: int, seed: int) -> Any:
    from flowcore_nodes.iot.simulated.model import Meter
    from flowcore_nodes.iot.simulated.stations import HttpStation

    return HttpStation(Meter("meter", seed), 8086)


def _scale(number: int, seed: int) -> Any:
    from flowcore_nodes.iot.simulated.model import Weights
    from flowcore_nodes.iot.simulated.stations import SerialStation

    told = 0

    def tells(values: dict[str, Any]) -> str | None:
        nonlocal told
        if values["part"] == told:
            return None
        told = values["part"]
        return f"{told};{values['grams']:.1f};g"

    return SerialStation(Weights("scale", seed), tells)


def _nano(number: int, seed: int) -> Any:
    from flowcore_nodes.iot.simulated.nano import NanoStation

    return NanoStation(seed)


def _presence(number: int, seed: int) -> Any:
    from flowcore_nodes.iot.simulated.presence import Presence

    return Presence(number, seed)


class _Simulators:
    @pluggy.HookimplMarker("flowcore_simulators")
    def flowcore_simulators(self) -> dict[str, Callable[[int, int], Any] | tuple[str, ...]]:
        return {
            "machines": Machine, "trucks": Truck, "air": _air, "rooms": _rooms, "presence": _presence, "meter": _meter,
            "belt": _belt, "press": _press, "scale": _scale, "nano": _nano,
            "building": ("air", "rooms", "meter", "presence"), "line": ("belt", "press", "scale", "nano"),
        }  # fmt: skip


simulators = _Simulators()
