"""The control services: what can be asked of a running host over the bus (`docs/control.md`)."""

from flowcore.runtime.control.errors import ControlError
from flowcore.runtime.control.operation import OPERATIONS, Operation
from flowcore.runtime.control.services import ControlServices

__all__ = ["OPERATIONS", "ControlError", "ControlServices", "Operation"]
