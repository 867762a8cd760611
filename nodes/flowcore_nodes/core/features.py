from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Tensor, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.path_fields import ReadPath, ReadPathOrEmpty
from flowcore_nodes.core.sample_blocks import SampleBlocks

if TYPE_CHECKING:
    import numpy as np

_Name = Literal[
    "mean", "std", "rms", "peak", "peak_to_peak", "crest_factor", "impulse_factor", "skewness", "kurtosis",
    "dominant_hz",
]  # fmt: skip
_LONGEST = 1 << 20

# What self.state holds of a series: what it is called, its channels (0: plain numbers), rows there are.
_LABEL, _CHANNELS, _FIRST, _END, _NEXT = range(5)


class Band(NodeConfig):
    """A band of frequencies."""

    name: str = field("", max_length=100, description="What it is called; empty: its limits, such as 10-100")
    from_hz: float = field(..., ge=0, description="Lower limit, in Hz; it belongs to the band")
    to_hz: float = field(..., gt=0, description="Upper limit, in Hz; it belongs to the next band")


class Features(Node):
    """Compute features of a signal: RMS, peak, crest factor, kurtosis, RMS in bands of frequencies.

    A window is the array or list of one message, or `window` samples that come one by one or some at a time; each key
    is a series of its own, and what was gathered survives restarts. Arrays of n rows and m columns are m channels: each
    feature is then a list. A feature that does not exist, such as the kurtosis of a constant, is null. Kurtosis is 3 of
    Gaussian noise; bands are of the periodogram, so that without a window function their squares add up to that of the
    RMS.
    """

    type = "core/features"
    title = "Features"
    category = "function"
    icon = "audio-waveform"
    stateful = True

    class Config(NodeConfig):
        features: list[_Name] = field(["rms", "peak", "crest_factor", "kurtosis"], description="What is computed")
        bands: list[Band] = field([], max_length=256, description="Bands of frequencies, the RMS of each is computed")
        sample_rate_hz: float | None = field(
            None, gt=0, le=1e9, description="Samples a second; needed for bands and dominant_hz"
        )
        window: int = field(
            0, ge=0, le=_LONGEST, description="Samples in a window; 0: each message is one, with all its samples"
        )
        hop: int = field(0, ge=0, le=_LONGEST, description="A window begins each so many samples; 0: side by side")
        remove_mean: bool = field(
            True, description="Features but the mean are those of the signal without its mean (sensors have an offset)"
        )
        taper: Literal["hann", "none"] = field("hann", description="Window function of the spectrum")
        path: ReadPath = field("payload", description="The number, list or array: payload, payload.accel ...")
        key: ReadPathOrEmpty = field("", description="Path of what tells series apart; empty: one series")
        max_keys: int = field(1000, gt=0, le=100_000, description="Most series that are gathered; more are an error")

        @model_validator(mode="after")
        def _fits(self) -> "Features.Config":
            if self.sample_rate_hz is None and (self.bands or "dominant_hz" in self.features):
                raise ValueError("bands and dominant_hz need sample_rate_hz")
            for band in self.bands:
                if not band.from_hz < band.to_hz <= (self.sample_rate_hz or 0) / 2:
                    limit = f"half the sample rate, {(self.sample_rate_hz or 0) / 2:g} Hz"
                    raise ValueError(f"the band {band_name(band)!r} must rise, and end at most at {limit}")
            names = [band_name(band) for band in self.bands]
            if len(set(names)) < len(names):
                raise ValueError("two bands have the same name")
            if self.hop and not self.window:
                raise ValueError("hop is for windows of samples: set window")
            return self

    in_ = In(description="a sample, a list or an array of samples")
    out = Out(dict, "key, samples, the features, bands: name -> RMS")

    def on_start(self) -> None:
        self._path = MessagePath(self.config.path).get
        self._key = MessagePath(self.config.key).find if self.config.key else None

    def on_reconfigure(self, old: Any) -> None:
        self.on_start()

    def on_message(self, message: Message) -> Iterator[Message]:
        rows, is_plain = self._rows(self._path(message))
        label = self._key(message, "") if self._key else ""
        if not self.config.window:
            if len(rows):
                yield message.derive(self._computed(label, rows, is_plain))
            return
        for window in self._gathered(label, rows, is_plain):
            yield message.derive(self._computed(label, window, is_plain))

    def _rows(self, value: Any) -> tuple["np.ndarray", bool]:
        """The samples as (n, channels), and whether they were plain numbers."""
        import numpy as np

        if isinstance(value, Tensor):
            value = value.numpy()
        try:
            array = np.asarray(value)
        except ValueError:
            array = np.asarray(None)
        if array.dtype.kind not in "iuf" or array.ndim > 2:
            raise GiveUp(f"{self.config.path} must be numbers, got {type(value).__name__} {str(value)[:40]!r}")
        if array.size > _LONGEST * 4:
            raise GiveUp(f"{self.config.path} has {array.size} samples, more than {_LONGEST * 4}")
        rows = array.astype(np.float64).reshape(-1, array.shape[1] if array.ndim == 2 else 1)
        if not np.isfinite(rows).all():
            raise GiveUp(f"{self.config.path} has NaN or infinity in it")
        return rows, array.ndim < 2

    def _gathered(self, label: Any, rows: "np.ndarray", is_plain: bool) -> Iterator["np.ndarray"]:
        """The windows that are complete with these samples."""
        key = f"s:{label}"
        channels = 0 if is_plain else rows.shape[1]
        kept = self.state.get(key)
        if kept is None or kept[_CHANNELS] != channels:
            if kept is None and sum(name.startswith("s:") for name in self.state) >= self.config.max_keys:
                raise GiveUp(f"{label!r} would be series {self.config.max_keys + 1}, more than max_keys")
            if kept is not None:  # another sensor, it seems: begin anew
                SampleBlocks(self.state, key, kept[_CHANNELS] or 1, kept[_FIRST], kept[_END]).forget(kept[_END])
            kept = [label, channels, 0, 0, 0]
        blocks = SampleBlocks(self.state, key, channels or 1, kept[_FIRST], kept[_END])
        next_row, size, hop = kept[_NEXT], self.config.window, self.config.hop or self.config.window
        blocks.append(rows)
        while blocks.end >= next_row + size:
            yield blocks.read(next_row, next_row + size)
            next_row += hop
        blocks.forget(next_row)
        self.state[key] = [label, channels, blocks.first, blocks.end, next_row]

    def _computed(self, label: Any, window: "np.ndarray", is_plain: bool) -> dict[str, Any]:
        from flowcore_nodes.core import signal_features

        config = self.config
        about: dict[str, Any] = {"key": label, "samples": len(window)}
        flat = signal_features.without_mean(window) if config.remove_mean else window
        for name in config.features:
            if name != "dominant_hz":
                about[name] = _said(signal_features.FEATURES[name](window if name == "mean" else flat), is_plain)
        if config.sample_rate_hz is None:
            return about
        frequencies, powers = signal_features.power_by_frequency(flat, config.sample_rate_hz, config.taper)
        if "dominant_hz" in config.features:
            about["dominant_hz"] = _said(signal_features.dominant_hz(frequencies, powers), is_plain)
        if config.bands:
            about["bands"] = {
                band_name(band): _said(
                    signal_features.band_rms(frequencies, powers, band.from_hz, band.to_hz), is_plain
                )
                for band in config.bands
            }
        return about


def band_name(band: Band) -> str:
    """What a band is called in the output."""
    return band.name or f"{band.from_hz:g}-{band.to_hz:g}"


def _said(found: "np.ndarray", is_plain: bool) -> Any:
    numbers = [None if number != number else number for number in found.tolist()]
    return numbers[0] if is_plain else numbers
