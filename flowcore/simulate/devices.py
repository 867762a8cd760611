"""What a simulated device is, and the hook by which a package brings some.

    UnknownDevices   no plug-in has devices of that name

A package names an object in the entry-point group `flowcore_simulators`; the object has the hook:

    class Plugin:
        @hookimpl
        def flowcore_simulators(self):
            return {"ovens": Oven}

    plugin = Plugin()      # pyproject: [project.entry-points.flowcore_simulators]  acme = "acme.ovens:plugin"

and `flowcore simulate ovens` plays them.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol

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


MakeDevice = Callable[[int, int], Device]
"""Makes device number n (from 1) of a run with a seed."""


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


def make(name: str, count: int, seed: int) -> list[Device]:
    """Devices 1 to `count` of one kind.

    Raises:
        UnknownDevices: no plug-in brings that kind.
    """
    found = installed()
    if name not in found.devices:
        raise UnknownDevices(name, found.devices, found.problems)
    return [found.devices[name](number, seed) for number in range(1, count + 1)]
