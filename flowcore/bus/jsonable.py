"""Values from the bus as JSON can hold them: for answers of the control services and for what commands print."""

import base64
import math
from typing import Any


def jsonable(value: Any) -> Any:
    """`value` in JSON's types: bytes as `{"$bytes": base64}`, NaN and infinities as text, other foreign things too.

    A tensor is what it is without what is in it: `{"$tensor": {"dtype": .., "shape": .., "device": ..}}`.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$bytes": base64.b64encode(bytes(value)).decode()}
    described = getattr(value, "described", None)  # a tensor
    return str(value) if described is None else jsonable(described())


def from_jsonable(value: Any) -> Any:
    """The value back, with `{"$bytes": ..}` as bytes.

    Raises:
        ValueError: a `$bytes` that is no base64.
    """
    if isinstance(value, dict):
        if value.keys() == {"$bytes"}:
            try:
                return base64.b64decode(value["$bytes"], validate=True)
            except (TypeError, ValueError):
                raise ValueError("$bytes must hold base64 text") from None
        return {key: from_jsonable(item) for key, item in value.items()}
    return [from_jsonable(item) for item in value] if isinstance(value, list) else value
