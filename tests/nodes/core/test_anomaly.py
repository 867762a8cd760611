"""`core/anomaly` against judgements of the whole history with Python's `statistics`, over seeded series."""

import math
import random
import statistics

import pytest
from flowcore_nodes.core.anomaly import Anomaly
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive


def series(seed: int, length: int = 300) -> list[float]:
    """Noise around a level that drifts, with blows, and a step in the middle."""
    of = random.Random(seed)
    values = [10 + at / 200 + of.gauss(0, 1) + (25 if at > length // 2 else 0) for at in range(length)]
    for at in of.sample(range(30, length), 12):
        values[at] += of.choice([-1, 1]) * of.uniform(4, 30)
    return values


def expected_range(method: str, history: list[float], config: dict) -> tuple[float, float]:
    """What is usual after a history: from, to."""
    if method == "zscore":
        last = history[-config["window"] :]
        middle, reach = statistics.fmean(last), 3 * statistics.stdev(last)
        return middle - reach, middle + reach
    if method == "iqr":
        lower, _, upper = statistics.quantiles(history[-config["window"] :], n=4, method="inclusive")
        return lower - 1.5 * (upper - lower), upper + 1.5 * (upper - lower)
    alpha, count = config["alpha"], len(history)
    weights = [(1 - alpha) ** (count - 1)] + [alpha * (1 - alpha) ** (count - 1 - at) for at in range(1, count)]
    assert sum(weights) == pytest.approx(1)
    middle = sum(map(lambda w, x: w * x, weights, history))
    variance = sum(map(lambda w, x: w * (x - middle) ** 2, weights, history))
    return middle - 3 * math.sqrt(variance), middle + 3 * math.sqrt(variance)


def judged(method: str, values: list[float], config: dict) -> list[tuple[int, float, float, bool]]:
    """The judgement of each value: its number, from, to, whether it is an anomaly."""
    history, row, found = [], [], []
    for at, value in enumerate(values):
        is_anomaly = False
        if len(history) >= 20:
            low, high = expected_range(method, history, config)
            is_anomaly = not low <= value <= high
            found.append((at, low, high, is_anomaly))
        if is_anomaly:
            row.append(value)
            if len(row) == 20:
                history, row = row, []
        else:
            row = []
            history.append(value)
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("method", "config"),
    [("zscore", {"window": 70}), ("zscore", {"window": 20}), ("iqr", {"window": 100}), ("ewma", {"alpha": 0.08})],
)
async def test_each_value_is_judged_as_the_whole_history_says(method, config, seed):
    """Also when the node is started anew in the middle of it, with another series between."""
    values, store, made = series(seed), MemoryStore(), []
    for part in (values[:97], values[97:160], values[160:]):
        async with drive(Anomaly, store=store, method=method, key="topic", **config) as node:
            for at in range(0, len(part), 50):
                await node.put(*part[at : at + 50], topic="a")
                await node.put(*[-value for value in part[at : at + 50]], topic="b")
            made += [one for one in await node.sent(port="out") if one["key"] == "a"]
            assert [one for one in await node.sent(port="anomaly") if one["key"] == "a"] == [
                one for one in await node.sent(port="out") if one["key"] == "a" and one["anomaly"]
            ]
    oracle = judged(method, values, config)
    assert [one["anomaly"] for one in made] == [one[3] for one in oracle]
    assert [one["low"] for one in made] == pytest.approx([one[1] for one in oracle])
    assert [one["high"] for one in made] == pytest.approx([one[2] for one in oracle])
    assert 5 < sum(one["anomaly"] for one in made) < 80  # blows and the step, not the new level
    for one in made:
        assert one["anomaly"] == (abs(one["score"]) > 1) and one["value"] in values


async def test_sides_constants_and_what_is_no_number():
    async with drive(Anomaly, warm_up=3, side="above", adapt_after=0) as node:
        await node.put(5.0, 5.0, 5.0, 5.0, 4.0, 6.0, math.nan, math.inf, "5", None, True, 9.0)
        judged = [(one["value"], one["anomaly"], one["score"]) for one in await node.sent(port="out")]
        assert judged[:3] == [(5.0, False, 0.0), (4.0, False, None), (6.0, False, pytest.approx(2.683 / 3, abs=0.01))]
        assert judged[3][:2] == (9.0, True)
        assert [error["error"] for error in node.errors] == ["GiveUp"] * 3
        assert node.statuses[-1] == ("1 anomalies, 2 left out", "ok")
    async with drive(Anomaly, warm_up=3, least_spread=0.5) as node:
        await node.put(5.0, 5.0, 5.0, 5.5, 8.0)
        assert [one["anomaly"] for one in await node.sent(port="out")] == [False, True]


async def test_more_series_than_allowed_is_an_error_and_another_method_begins_anew():
    store = MemoryStore()
    async with drive(Anomaly, store=store, key="topic", max_keys=1, warm_up=2) as node:
        await node.put(1.0, 2.0, topic="a")
        await node.put(1.0, topic="b")
        assert "max_keys is 1" in node.errors[0]["text"]
        await node.reconfigure(method="ewma", warm_up=2, key="topic")
        await node.put(1.0, 2.0, 3.0, topic="a")
        assert [one["value"] for one in await node.sent(port="out")] == [3.0]


def test_what_can_not_judge_is_refused():
    for config, text in (
        ({"window": 10}, "warm_up \\(20\\) must not be more than window"),
        ({"adapt_after": 1}, "at least 2"),
        ({"method": "median"}, "Input should be"),
        ({"alpha": 1}, "less than 1"),
    ):
        with pytest.raises(ValidationError, match=text):
            Anomaly.Config(**config)
