"""`ai/anomaly`: one number of what a model says, and whether that is too much."""

import numpy as np
import pytest
from flowcore_nodes.ai.anomaly import Anomaly
from pydantic import ValidationError

from flowcore.node.testing import drive


async def test_a_score_by_each_method():
    """Worked out by hand."""
    heat = np.array([[0.0, 1.0], [2.0, 5.0]], np.float32)
    window = np.array([1.0, 2.0, 3.0], np.float32)
    for config, payload, score in [
        ({"limit": 3}, heat, 2.0),
        ({"method": "largest", "limit": 3}, heat, 5.0),
        ({"method": "reconstruction", "limit": 3}, {"outputs": {"y": window + 2}, "original": window}, 4.0),
        ({"method": "distance", "centre": [0, 0], "limit": 3}, np.array([[3.0, 4.0]], np.float32), 5.0),
        ({"method": "largest", "limit": 4, "usual": 2, "scaled": True}, heat, 1.5),
    ]:
        async with drive(Anomaly, **config) as node:
            await node.put(payload)
            (made,) = await node.sent(1)
        assert made["score"] == pytest.approx(score)
        assert made["anomaly"] is (score > config["limit"] or "scaled" in config)
        assert "original" not in made and "outputs" not in made


@pytest.mark.parametrize(
    ("config", "payload", "says"),
    [
        ({"method": "reconstruction"}, {"outputs": {"y": [1.0]}}, "no 'original'"),
        ({"method": "reconstruction"}, {"outputs": {"y": [1.0]}, "original": [1.0, 2.0]}, "1 values, and 'original' 2"),
        ({"method": "distance", "centre": [1, 2]}, [1.0], "1 values, and 'centre' 2"),
        ({}, [float("nan")], "no finite number"),
        ({}, np.zeros((0, 3), np.float32), "is empty"),
        ({}, {"outputs": "text"}, "no outputs of a model"),
    ],
)
async def test_what_has_no_score_is_told(config, payload, says):
    """The next message is judged."""
    async with drive(Anomaly, **config) as node:
        await node.put(payload)
    assert says in node.given_up[0]["text"]


@pytest.mark.parametrize("config", [{"limit": 0}, {"method": "distance"}, {"centre": [1.0]}])
async def test_a_config_that_makes_no_sense_is_refused(config):
    """Before anything runs."""
    with pytest.raises(ValidationError):
        await drive(Anomaly, **config).__aenter__()
