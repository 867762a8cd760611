"""What a simulated device is, and the hook by which a package brings some.

    UnknownDevices   no plug-in has devices of that name
    CantServe        a device can't be where it should: its port is taken, its library is not installed

A package names an object in the entry-point group `flowcore_simulators`; the object has the hook:

    class Plugin:
        @hookimpl
        def flowcore_simulators(self):
            return {"ovens": Oven}

    plugin = Plugin()      # pyproject: [project.entry-points.flowcore_simulators]  acme = "acme.ovens:plugin"

and `flowcore simulate ovens` plays them. A device publishes over MQTT; a station is spoken to, in whichever protocol it
has. A name may also stand for several others: `{"bakery": ("ovens", "scales")}`.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, TypeGuard

import pluggy

GROUP = "flowcore_simulators"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)

Reading = tuple[str, Any] | tuple[str, Any, bool]
"""(topic, payload) or (topic, payload, retain). A payload that is not bytes is published as JSON."""


class Device(Protocol):
    """One simulated device. Its time is what it is told, its chance comes from its seed: two runs are alike.

    Attributes:
        name: unique among the devices of one run.
        commands: topic filters on which it takes commands.
    """

    name: str
    commands: tuple[str, ...]

    def play(self, now_s: float) -> Iterable[Reading]:
        """Go on to `now_s` seconds after the start, and say what is published then. Called at a steady rate."""

    def command(self, topic: str, payload: bytes) -> str | None:
        """Obey a command; returns a line for people about what it did, None when it was not for this device."""


@dataclass(frozen=True)
class At:
    """Where a station is to be.

    Attributes:
        port: to listen at; None: its usual one, 0: any.
        folder: for what has a name in the file system, such as a serial port.
        listens: to be called once with where it is, for people: "modbus tcp 127.0.0.1:5020".
        says: to be called with a line for people about what was asked of it.
    """

    port: int | None
    folder: Path
    listens: Callable[[str], None]
    says: Callable[[str], None]


class Station(Protocol):
    """One simulated device that others speak to.

    Attributes:
        name: unique among what is played at once.
    """

    name: str

    async def serve(self, at: At) -> None:
        """Be there until cancelled. Raises CantServe."""


MakeDevice = Callable[[int, int], Device | Station] | tuple[str, ...]
"""Makes device number n (from 1) of a run with a seed; or names of others."""


def is_station(one: Device | Station) -> TypeGuard[Station]:
    """Whether it is spoken to."""
    return hasattr(one, "serve")


class CantServe(OSError):
    """See above."""


class Spec:
    """The hook, for pluggy."""

    @hookspec
    def flowcore_simulators(self) -> dict[str, MakeDevice]:  # type: ignore[empty-body]
        """Return what can be simulated: a name for `flowcore simulate NAME`, and what makes one such device.

        Called once, in the process that plays the devices. A name that two plug-ins bring goes to the first, by the
        names of the plug-ins.
        """


@dataclass(frozen=True)
class Found:
    """What is installed.

    Attributes:
        devices: name -> maker.
        problems: plug-ins that could not be loaded, a line each.
    """

    devices: dict[str, MakeDevice]
    problems: list[str]


class UnknownDevices(LookupError):
    """No devices of that name; the text says which there are."""

    def __init__(self, name: str, known: Iterable[str], problems: list[str]) -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        super().__init__("; ".join([f"no devices {name!r}{hint} (there are: {', '.join(known) or 'none'})", *problems]))
        self.name = name


def installed() -> Found:
    """The devices of all installed plug-ins; one that fails to load does not hide the others."""
    devices: dict[str, MakeDevice] = {}
    problems: list[str] = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        manager = pluggy.PluginManager(GROUP)
        manager.add_hookspecs(Spec)
        try:
            manager.register(point.load(), point.name)
            found = manager.hook.flowcore_simulators()
            devices = {name: make for brought in found for name, make in brought.items()} | devices
        except Exception as e:  # whatever a plug-in's import raises
            problems.append(f"plug-in {point.name!r} could not be loaded: {type(e).__name__}: {e}")
    return Found(devices, problems)


def make(name: str, count: int, seed: int) -> list[Device | Station]:
    """What has that name: devices 1 to `count` of a kind, a station, or all that the name stands for.

    Raises:
        UnknownDevices: no plug-in brings that kind.
    """
    found = installed()
    if name not in found.devices:
        raise UnknownDevices(name, found.devices, found.problems)
    maker = found.devices[name]
    if isinstance(maker, tuple):
        return [made for one in maker for made in make(one, count, seed)]
    first = maker(1, seed)
    return [first] if is_station(first) else [first, *(maker(number, seed) for number in range(2, count + 1))]
