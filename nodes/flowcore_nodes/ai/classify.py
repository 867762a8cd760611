from typing import Any, Literal

import numpy as np

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore_nodes.ai.outputs import arrays, rest


class Classify(Node):
    """Name the classes that a model finds most likely, with their confidences.

    Outputs are logits, of which softmax (one class is right) or sigmoid (several may be) makes confidences, or they are
    confidences already. NaN is an error of the message, not a class.
    """

    type = "ai/classify"
    title = "Classify"
    category = "ai"
    icon = "tags"

    class Config(NodeConfig):
        names: list[str] = field([], description="Names of the classes, in the model's order; empty: their numbers")
        most: int = field(5, ge=1, le=1000, description="How many are named, the likeliest first")
        least: float = field(0.0, ge=0, le=1, description="Least confidence of one that is named, 0 to 1")
        scores: Literal["softmax", "sigmoid", "as they are"] = field(
            "softmax", description="What makes confidences of the model's output"
        )
        output: str = field("", description="Name of the model's output; empty: the first")

    in_ = In(description="what ai/model sent, or the output itself")
    out = Out(
        dict, "class, class_id, confidence of the likeliest; classes: the list of them; null when none is likely enough"
    )

    def on_message(self, message: Message) -> Any:
        config = self.config
        scores = arrays(message.payload, [config.output] if config.output else [])[0]
        row = scores.reshape(-1).astype(np.float64) if scores.size == max(scores.shape, default=0) else None
        if row is None or not len(row):
            raise GiveUp(f"a message is one row of scores, got {scores.dtype} {tuple(scores.shape)}")
        if config.names and len(config.names) != len(row):
            raise GiveUp(f"the model has {len(row)} classes, and {len(config.names)} have names")
        if not np.isfinite(row).all():
            raise GiveUp("the scores are not all finite numbers")
        if config.scores == "softmax":
            row = np.exp(row - row.max())
            row /= row.sum()
        elif config.scores == "sigmoid":
            row = 0.5 * (1 + np.tanh(row / 2))
        order = np.argsort(-row, kind="stable")[: config.most]
        classes = [self._named(int(k), float(row[k])) for k in order if row[k] >= config.least]
        best = classes[0] if classes else {"class": None, "class_id": None, "confidence": None}
        return message.derive({**rest(message.payload), **best, "classes": classes})

    def _named(self, number: int, confidence: float) -> dict[str, Any]:
        names = self.config.names
        return {
            "class": names[number] if names else str(number),
            "class_id": number,
            "confidence": round(confidence, 6),
        }
