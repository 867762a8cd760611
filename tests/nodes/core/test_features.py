"""`core/features` against scipy and closed forms; windows gathered from samples; bad samples."""

import math

import numpy as np
import pytest
import scipy.signal
import scipy.stats
from flowcore_nodes.core import signal_features
from flowcore_nodes.core.features import Features
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive

EVERY = [*signal_features.FEATURES, "dominant_hz"]
RNG = np.random.default_rng(7)


@pytest.mark.parametrize("n", [2, 3, 64, 1000, 1001])
def test_moments_and_spectrum_are_those_of_scipy(n):
    window = RNG.gamma(2.0, 3.0, (n, 3)) - 2
    oracle = {
        "mean": np.mean(window, 0), "std": np.std(window, 0), "rms": np.sqrt((window**2).mean(0)),
        "peak": np.abs(window).max(0), "peak_to_peak": np.ptp(window, 0),
        "crest_factor": np.abs(window).max(0) / np.sqrt((window**2).mean(0)),
        "impulse_factor": np.abs(window).max(0) / np.abs(window).mean(0),
        "skewness": scipy.stats.skew(window), "kurtosis": scipy.stats.kurtosis(window, fisher=False),
    }  # fmt: skip
    for name, compute in signal_features.FEATURES.items():
        assert compute(window) == pytest.approx(oracle[name], rel=1e-9, abs=1e-12), name
    for ours, theirs in (("hann", "hann"), ("none", "boxcar")):
        frequencies, powers = signal_features.power_by_frequency(window, 500.0, ours)
        f, density = scipy.signal.periodogram(window, 500.0, theirs, detrend=False, axis=0)
        assert frequencies == pytest.approx(f) and powers == pytest.approx(density * 500.0 / n, rel=1e-9, abs=1e-12)


async def test_a_sine_has_the_features_of_a_sine():
    """Closed forms: RMS A / sqrt 2, crest factor sqrt 2, kurtosis 1.5, all power in its band."""
    rate, hz, amplitude = 1000.0, 50.0, 3.0
    time = np.arange(1000) / rate
    bands = [{"from_hz": 0, "to_hz": 40}, {"name": "mains", "from_hz": 40, "to_hz": 60}, {"from_hz": 60, "to_hz": 500}]
    config = {"features": EVERY, "bands": bands, "sample_rate_hz": rate}
    for taper in ("none", "hann"):
        async with drive(Features, **config, taper=taper) as node:
            await node.put(7 + amplitude * np.sin(2 * np.pi * hz * time))
            (made,) = await node.sent()
            assert made["mean"] == pytest.approx(7) and made["dominant_hz"] == hz and made["samples"] == 1000
            assert made["rms"] == pytest.approx(amplitude / math.sqrt(2))
            assert made["crest_factor"] == pytest.approx(math.sqrt(2))
            assert made["kurtosis"] == pytest.approx(1.5) and made["skewness"] == pytest.approx(0, abs=1e-9)
            assert made["bands"]["mains"] == pytest.approx(amplitude / math.sqrt(2))
            assert max(made["bands"]["0-40"], made["bands"]["60-500"]) < 1e-6


async def test_bands_side_by_side_add_up_to_the_rms():
    bands = [{"from_hz": low, "to_hz": low + 100} for low in range(0, 500, 100)]
    async with drive(
        Features, features=["rms"], bands=bands, sample_rate_hz=1000, taper="none", remove_mean=False
    ) as node:
        for n in (1000, 999, 1):
            await node.put((RNG.standard_normal(n) + 2).tolist())
        for made in await node.sent():
            assert math.sqrt(sum(one**2 for one in made["bands"].values())) == pytest.approx(made["rms"])


async def test_channels_and_what_does_not_exist():
    async with drive(Features, features=["rms", "crest_factor", "kurtosis", "skewness"]) as node:
        await node.put([[0.1, 1], [0.1, -1], [0.1, 1], [0.1, -1]], [0.1] * 3, [[1, 2, 3]], np.zeros((0,)))
        assert await node.sent() == [
            {"key": "", "samples": 4, "rms": [0, 1], "crest_factor": [None, 1], "kurtosis": [None, 1],
             "skewness": [None, 0]},
            {"key": "", "samples": 3, "rms": 0, "crest_factor": None, "kurtosis": None,
             "skewness": None},
            {"key": "", "samples": 1, "rms": [0] * 3, "crest_factor": [None] * 3, "kurtosis": [None] * 3,
             "skewness": [None] * 3},
        ]  # fmt: skip


@pytest.mark.parametrize(("window", "hop"), [(100, 0), (100, 30), (10, 25), (64, 64), (1, 1), (130, 1)])
async def test_windows_are_gathered_from_samples_however_they_come_and_over_restarts(window, hop):
    signal = RNG.standard_normal(400)
    expected = [math.sqrt(np.mean(signal[at : at + window] ** 2)) for at in range(0, 400 - window + 1, hop or window)]
    config = {"features": ["rms"], "window": window, "hop": hop, "remove_mean": False, "key": "meta.machine"}
    store, made, at = MemoryStore(), [], 0
    for size in (1, 7, 64, 1, 200, 127):
        async with drive(Features, store=store, **config) as node:
            part = signal[at : at + size]
            await node.put(part[0] if size == 1 else part, meta={"machine": "a"})
            await node.put(99.0, meta={"machine": "b"})
            made += [one["rms"] for one in await node.sent() if one["key"] == "a"]
            assert len(node.node.state) <= 2 * (window // 64 + 3)  # what is done with is forgotten
            at += size
    assert made == pytest.approx(expected)


async def test_bad_samples_are_errors_and_change_nothing():
    async with drive(Features, features=["peak"], window=2, max_keys=1, key="topic", remove_mean=False) as node:
        await node.put(1.0, math.nan, "x", None, True, [1, None], [[1], [2, 3]], {"a": 1}, np.zeros((2, 2, 2)), -2.0)
        assert [one["peak"] for one in await node.sent()] == [2.0]
        assert len(node.errors) == 8 and "NaN or infinity" in node.errors[0]["text"]
        assert all("must be numbers" in error["text"] for error in node.errors[1:])
        await node.put(1.0, topic="other")
        assert "more than max_keys" in node.errors[-1]["text"]
        await node.put([[1.0, 2.0]])  # another shape: begins anew
        await node.put([[3.0, 1.0]])
        assert [one["peak"] for one in await node.sent()][1:] == [[3.0, 2.0]]


def test_features_that_can_not_be_are_refused():
    for config, text in (
        ({"features": ["dominant_hz"]}, "need sample_rate_hz"),
        ({"bands": [{"from_hz": 1, "to_hz": 2}]}, "need sample_rate_hz"),
        ({"bands": [{"from_hz": 1, "to_hz": 60}], "sample_rate_hz": 100}, "half the sample rate, 50 Hz"),
        ({"bands": [{"from_hz": 5, "to_hz": 5}], "sample_rate_hz": 100}, "must rise"),
        ({"bands": [{"from_hz": 1, "to_hz": 5}] * 2, "sample_rate_hz": 100}, "same name"),
        ({"hop": 5}, "set window"),
        ({"features": ["rmse"]}, "Input should be"),
    ):
        with pytest.raises(ValidationError, match=text):
            Features.Config(**config)
