"""The machines of `flowcore simulate machines`."""

from collections.abc import Callable

import pluggy

from flowcore_nodes.iot.simulated.machine import Machine

__all__ = ["Machine", "simulators"]


class _Simulators:
    @pluggy.HookimplMarker("flowcore_simulators")
    def flowcore_simulators(self) -> dict[str, Callable[[int, int], Machine]]:
        return {"machines": Machine}


simulators = _Simulators()
