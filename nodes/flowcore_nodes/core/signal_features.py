"""Features of a window of samples, as vibration and other signals are judged by. Pure: arrays in, numbers out.

A window is (n, channels) float64; a feature is (channels,), NaN where it does not exist.

Sources: R. B. Randall, "Vibration-based Condition Monitoring" (Wiley, 2011), for the use of each; what defines one is
given with it.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

WindowFunction = Literal["hann", "none"]


def mean(window: np.ndarray) -> np.ndarray:
    """The arithmetic mean."""
    return window.mean(axis=0)


def without_mean(window: np.ndarray) -> np.ndarray:
    """The window less its mean; 0 where all values are the same, also when their mean was rounded."""
    return np.where(_is_constant(window), 0.0, window - window.mean(axis=0))


def std(window: np.ndarray) -> np.ndarray:
    """Standard deviation of the window itself: the square root of the second central moment, divided by n."""
    return window.std(axis=0)


def rms(window: np.ndarray) -> np.ndarray:
    """Root mean square: sqrt(sum(x^2) / n), the energy of the signal."""
    return np.sqrt(np.mean(np.square(window), axis=0))


def peak(window: np.ndarray) -> np.ndarray:
    """The largest absolute value."""
    return np.abs(window).max(axis=0)


def peak_to_peak(window: np.ndarray) -> np.ndarray:
    """The largest value less the smallest."""
    return window.max(axis=0) - window.min(axis=0)


def crest_factor(window: np.ndarray) -> np.ndarray:
    """Peak by RMS: sqrt(2) of a sine, 1 of a square wave, larger with every blow. None of a window of zeros."""
    return _by(peak(window), rms(window))


def impulse_factor(window: np.ndarray) -> np.ndarray:
    """Peak by the mean of the absolute values."""
    return _by(peak(window), np.abs(window).mean(axis=0))


def skewness(window: np.ndarray) -> np.ndarray:
    """Third standardised moment m3 / m2^1.5, moments divided by n (Fisher-Pearson g1). None of a constant."""
    away = without_mean(window)
    return _by(np.mean(away**3, axis=0), np.mean(away**2, axis=0) ** 1.5)


def kurtosis(window: np.ndarray) -> np.ndarray:
    """Fourth standardised moment m4 / m2^2, moments divided by n: 3 of Gaussian noise, 1.5 of a sine.

    K. Pearson, Biometrika 4 (1905), 169: his beta 2, without 3 being taken off. That it rises with the first damage of
    a rolling bearing: D. Dyer, R. M. Stewart, J. Mechanical Design 100 (1978), 229. None of a constant.
    """
    away = without_mean(window)
    return _by(np.mean(away**4, axis=0), np.mean(away**2, axis=0) ** 2)


FEATURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": mean,
    "std": std,
    "rms": rms,
    "peak": peak,
    "peak_to_peak": peak_to_peak,
    "crest_factor": crest_factor,
    "impulse_factor": impulse_factor,
    "skewness": skewness,
    "kurtosis": kurtosis,
}


def power_by_frequency(
    window: np.ndarray, rate_hz: float, function: WindowFunction = "hann"
) -> tuple[np.ndarray, np.ndarray]:
    """How the mean square of a signal is spread over frequencies.

    The periodogram, one-sided: c |X_k|^2 / (n sum(w^2)), c = 2 but for frequency 0 and the highest of an even n, where
    it is 1. Without a window function the sum over all is the mean square exactly (Parseval). P. D. Welch, IEEE
    Transactions on Audio and Electroacoustics 15 (1967), 70; window functions: F. J. Harris, Proceedings of the IEEE 66
    (1978), 51.

    Returns:
        The frequencies in Hz, (m,), and the powers in the signal's unit squared, (m, channels).
    """
    n = len(window)
    # Hann's window of period n, as spectra want it
    weights = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n) if function == "hann" and n > 1 else np.ones(n)
    powers = np.square(np.abs(np.fft.rfft(window * weights[:, None], axis=0))) / (n * np.square(weights).sum())
    powers[1 : len(powers) - (n % 2 == 0)] *= 2
    return np.fft.rfftfreq(n, 1 / rate_hz), powers


def band_rms(frequencies: np.ndarray, powers: np.ndarray, from_hz: float, to_hz: float) -> np.ndarray:
    """RMS of what lies from a frequency up to another, which belongs to the next band, unless it is the highest."""
    inside = (frequencies >= from_hz) & ((frequencies < to_hz) | (frequencies == to_hz) & (to_hz == frequencies[-1]))
    return np.sqrt(powers[inside].sum(axis=0))


def dominant_hz(frequencies: np.ndarray, powers: np.ndarray) -> np.ndarray:
    """The frequency above 0 that has most power, to the resolution rate / n. None of a window of one value."""
    if len(frequencies) < 2:
        return np.full(powers.shape[1], np.nan)
    found = frequencies[1 + powers[1:].argmax(axis=0)]
    return np.where(powers[1:].max(axis=0) > 0, found, np.nan)


def _is_constant(window: np.ndarray) -> np.ndarray:
    return window.max(axis=0) == window.min(axis=0)


def _by(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
