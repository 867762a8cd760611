"""What `ai/model` sends, as the nodes behind it read it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from flowcore.node import GiveUp


def arrays(payload: Any, names: list[str]) -> list[np.ndarray]:
    """Outputs of a model, by name or all in its order.

    Args:
        payload: what `ai/model` sent, or one tensor.
    Raises:
        GiveUp: they are not there, or are no tensors.
    """
    outputs = payload.get("outputs", payload) if isinstance(payload, Mapping) else {"output": payload}
    if not isinstance(outputs, Mapping) or not outputs:
        raise GiveUp("the payload has no outputs of a model")
    if missing := [name for name in names if name not in outputs]:
        raise GiveUp(f"the model has no output {missing[0]!r}; it has: {', '.join(map(str, outputs))}")
    return [array(outputs[name], name) for name in names or outputs]


def array(value: Any, name: str) -> np.ndarray:
    """A tensor, or a list of numbers, as an array.

    Raises:
        GiveUp: it is none.
    """
    if hasattr(value, "numpy"):
        return value.numpy()
    try:
        made = np.asarray(value)
    except ValueError:
        made = np.array(None)
    if made.dtype.kind not in "biuf":
        raise GiveUp(f"'{name}' is {type(value).__name__}, not a tensor of numbers")
    return made


def rest(payload: Any) -> dict[str, Any]:
    """What travels on beside the outputs: the model's name and version, and what came before it."""
    return {key: one for key, one in payload.items() if key != "outputs"} if isinstance(payload, Mapping) else {}
