from typing import Any, Literal

import numpy as np

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore_nodes.ai.outputs import array, arrays, rest


class Anomaly(Node):
    """Make one number of a model's output that says how unusual its input was, and whether that is too much.

    The score is the output itself (its mean, or its largest value, as of a heat map), how far a reconstruction is from
    the input (an autoencoder's; the input has to travel along), or how far an embedding is from the one it should be.
    It may be scaled so that 0 is usual and 1 the limit.
    """

    type = "ai/anomaly"
    title = "Anomaly"
    category = "ai"
    icon = "siren"

    class Config(NodeConfig):
        method: Literal["mean", "largest", "reconstruction", "distance"] = field(
            "mean",
            description="mean and largest of the output; mean squared error of a reconstruction; Euclidean distance",
        )
        output: str = field("", description="Name of the model's output; empty: the first")
        original: str = field(
            "original", min_length=1, description="Key of the payload that holds what is reconstructed"
        )
        centre: list[float] = field([], description="The usual embedding, for method = distance")
        usual: float = field(0.0, description="Score of what is usual: 0 after scaling")
        limit: float = field(1.0, description="Score above which it is an anomaly: 1 after scaling")
        scaled: bool = field(False, description="Send (score - usual) / (limit - usual) instead of the score itself")

        def model_post_init(self, _: Any) -> None:
            """See `NodeConfig`."""
            if self.limit <= self.usual:
                raise ValueError(f"limit is {self.limit:g}: it must be above usual, {self.usual:g}")
            if (self.method == "distance") != bool(self.centre):
                raise ValueError("centre belongs to method = distance, and that needs it")

    in_ = In(description="what ai/model sent, or the output itself")
    out = Out(dict, "score, anomaly (true or false), and what came beside the outputs")

    def on_message(self, message: Message) -> Any:
        config, payload = self.config, message.payload
        output = arrays(payload, [config.output] if config.output else [])[0].astype(np.float64)
        if not output.size:
            raise GiveUp("the output is empty")
        score = self._score(output, payload)
        if not np.isfinite(score):
            raise GiveUp("the score is no finite number")
        is_anomaly = score > config.limit
        if config.scaled:
            score = (score - config.usual) / (config.limit - config.usual)
        beside = {key: one for key, one in rest(payload).items() if key != config.original}
        return message.derive({**beside, "score": score, "anomaly": is_anomaly})

    def _score(self, output: np.ndarray, payload: Any) -> float:
        match self.config.method:
            case "mean":
                return float(output.mean())
            case "largest":
                return float(output.max())
            case "distance":
                return float(np.linalg.norm(_flat(output, len(self.config.centre), "centre") - self.config.centre))
        if not isinstance(payload, dict) or self.config.original not in payload:
            raise GiveUp(f"the payload has no '{self.config.original}' to compare the reconstruction with")
        original = array(payload[self.config.original], self.config.original).astype(np.float64)
        return float(((_flat(output, original.size, self.config.original) - original.reshape(-1)) ** 2).mean())


def _flat(output: np.ndarray, size: int, name: str) -> np.ndarray:
    if output.size != size:
        raise GiveUp(f"the output has {output.size} values, and '{name}' {size}")
    return output.reshape(-1)
