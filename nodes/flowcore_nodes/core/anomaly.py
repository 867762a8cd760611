import math
from typing import Any, Literal

from pydantic import model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Outputs, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.outliers import Judgement, by_fences, by_weighted_mean, by_z_score, weighted
from flowcore_nodes.core.path_fields import ReadPath, ReadPathOrEmpty
from flowcore_nodes.core.sample_blocks import SampleBlocks

# What self.state holds of a series: what it is called, how many values have made its history, the anomalies in a row
# that come last; then of a window its rows, of ewma mean and variance.
_LABEL, _COUNT, _ROW, _FIRST, _END = range(5)
_MEAN, _VARIANCE = 3, 4
_SHAPE = "shape"  # state: the settings that the histories were made by


class Anomaly(Node):
    """Tell when a number is unusual for its series: by z-score, quartiles (IQR) or a moving average (EWMA).

    Each value is judged by those before it: zscore by mean and standard deviation of the last `window`, iqr by their
    quartiles, ewma by a mean and variance that forget at the rate `alpha`. The first `warm_up` values of a series are
    only learned. Anomalies are not learned; but `adapt_after` of them in a row are a new level, and it begins to learn
    anew from them. Each judgement is a map on `out`, those of anomalies again on `anomaly`. Histories survive restarts.
    NaN and infinity are left out; what is no number is an error.
    """

    type = "core/anomaly"
    title = "Anomaly"
    category = "function"
    icon = "chart-no-axes-combined"
    stateful = True

    class Config(NodeConfig):
        method: Literal["zscore", "iqr", "ewma"] = field("zscore", description="How what is usual is found; see above")
        window: int = field(100, ge=4, le=10_000, description="zscore, iqr: so many values before are looked at")
        alpha: float = field(
            0.1, gt=0, lt=1, description="ewma: weight of the newest value; 0.1 remembers about the last 20"
        )
        limit: float | None = field(
            None,
            gt=0,
            le=1000,
            description="What is farther away is an anomaly: zscore, ewma in standard deviations, empty: 3; iqr in "
            "interquartile ranges outside the quartiles, empty: 1.5",
        )
        side: Literal["both", "above", "below"] = field("both", description="Which side is an anomaly")
        least_spread: float = field(
            0.0,
            ge=0,
            description="Spread (standard deviation, interquartile range) is taken to be at least this, in the unit "
            "of the input; 0: after equal values any other one is an anomaly",
        )
        warm_up: int = field(20, ge=2, le=10_000, description="Values of a series until it is judged")
        adapt_after: int = field(
            20, ge=0, le=1000, description="So many anomalies in a row are the new level; 0: never. At least 2"
        )
        path: ReadPath = field("payload", description="Path of the number: payload, payload.temp_c ...")
        key: ReadPathOrEmpty = field(
            "", description="Path of what tells series apart, such as topic; empty: one series"
        )
        max_keys: int = field(1000, gt=0, le=100_000, description="Most series; a further one is an error")

        @model_validator(mode="after")
        def _fits(self) -> "Anomaly.Config":
            if self.method != "ewma" and self.warm_up > self.window:
                raise ValueError(f"warm_up ({self.warm_up}) must not be more than window ({self.window})")
            if self.adapt_after == 1:
                raise ValueError("adapt_after is 0, or at least 2: of one value nothing can be learned")
            return self

    in_ = In(description="a number, or a map that holds one")
    out = Out(dict, "each judgement: key, value, expected, low, high, score (1: at the limit), anomaly, at_s")
    anomaly = Out(dict, "only those of anomalies")

    def on_start(self) -> None:
        self._found = self._ignored = 0
        self._read_config()

    def on_go(self) -> None:
        shape = [self.config.method, self.config.path, self.config.key]
        if self.state.get(_SHAPE) != shape:
            self.state.clear()
            self.state[_SHAPE] = shape
        self._series = sum(name.startswith("s:") for name in self.state)

    def on_reconfigure(self, old: Any) -> None:
        self._read_config()
        self.on_go()

    def _read_config(self) -> None:
        self._path = MessagePath(self.config.path).get
        self._key = MessagePath(self.config.key).find if self.config.key else None
        self._limit = self.config.limit or (1.5 if self.config.method == "iqr" else 3.0)

    def on_message(self, message: Message) -> Outputs | None:
        value = self._path(message)
        if type(value) is not float and type(value) is not int:
            raise GiveUp(f"{self.config.path} must be a number, got {type(value).__name__} {str(value)[:40]!r}")
        if not math.isfinite(value):
            self._ignored += 1
            self._show()
            return None
        label = self._key(message, "") if self._key else ""
        key = f"s:{label}"
        kept = list(self.state.get(key) or self._begun(label))
        judgement = self._judged(key, kept, float(value))
        is_anomaly = judgement is not None and judgement.is_anomaly and self._is_side(float(value), judgement)
        self._learn(key, kept, float(value), is_anomaly)
        self.state[key] = kept
        if judgement is None:
            return None
        about = {
            "key": label, "value": value, "expected": judgement.expected, "low": judgement.low, "high": judgement.high,
            "score": judgement.score, "anomaly": is_anomaly, "at_s": self.now_s(),
        }  # fmt: skip
        made = message.derive(about)
        if not is_anomaly:
            return Outputs(out=made)
        self._found += 1
        self._show()
        return Outputs(out=made, anomaly=made)

    def _begun(self, label: Any) -> list:
        self._series = sum(name.startswith("s:") for name in self.state)  # what a handler did may have been undone
        if self._series >= self.config.max_keys:
            raise GiveUp(f"{label!r} would be series {self._series + 1}, max_keys is {self.config.max_keys}")
        return [label, 0, [], 0, 0]

    def _judged(self, key: str, kept: list, value: float) -> Judgement | None:
        if kept[_COUNT] < self.config.warm_up:
            return None
        least = self.config.least_spread
        if self.config.method == "ewma":
            return by_weighted_mean(kept[_MEAN], kept[_VARIANCE], value, self._limit, least)
        blocks = SampleBlocks(self.state, key, 1, kept[_FIRST], kept[_END])
        history = blocks.read(max(kept[_FIRST], kept[_END] - self.config.window), kept[_END])[:, 0]
        judge = by_fences if self.config.method == "iqr" else by_z_score
        return judge(history, value, self._limit, least)

    def _is_side(self, value: float, judgement: Judgement) -> bool:
        side = self.config.side
        return side == "both" or (value > judgement.expected) == (side == "above")

    def _learn(self, key: str, kept: list, value: float, is_anomaly: bool) -> None:
        """Take the value into the history, or into the anomalies in a row, which may become the history."""
        if not is_anomaly:
            kept[_ROW] = []
            self._take(key, kept, [value])
            return
        if not self.config.adapt_after:
            return
        kept[_ROW] = [*kept[_ROW], value]
        if len(kept[_ROW]) >= self.config.adapt_after:
            row, kept[_ROW], kept[_COUNT] = kept[_ROW], [], 0
            if self.config.method != "ewma":
                blocks = SampleBlocks(self.state, key, 1, kept[_FIRST], kept[_END])
                blocks.forget(blocks.end)
                kept[_FIRST] = blocks.first
            self._take(key, kept, row)

    def _take(self, key: str, kept: list, values: list[float]) -> None:
        if self.config.method == "ewma":
            for value in values:
                if not kept[_COUNT]:
                    kept[_MEAN], kept[_VARIANCE] = value, 0.0
                else:
                    kept[_MEAN], kept[_VARIANCE] = weighted(kept[_MEAN], kept[_VARIANCE], value, self.config.alpha)
                kept[_COUNT] += 1
            return
        import numpy as np

        blocks = SampleBlocks(self.state, key, 1, kept[_FIRST], kept[_END])
        blocks.append(np.array(values, np.float64)[:, None])
        blocks.forget(blocks.end - self.config.window)
        kept[_FIRST], kept[_END] = blocks.first, blocks.end
        kept[_COUNT] += len(values)

    def _show(self) -> None:
        text = f"{self._found} anomalies" + (f", {self._ignored} left out" if self._ignored else "")
        self.set_status(text)
