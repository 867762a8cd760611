"""`ai/classify`: top-k with softmax, sigmoid or none."""

import numpy as np
import pytest
from flowcore_nodes.ai.classify import Classify

from flowcore.node.testing import drive

LOGITS = np.log(np.array([[0.5, 0.2, 0.3]], np.float32)) + 1000  # softmax must not overflow


async def test_the_likeliest_come_first_with_their_share():
    """With names, and the model's name goes along."""
    async with drive(Classify, names=["a", "b", "c"], most=2) as node:
        await node.put({"outputs": {"scores": LOGITS}, "model": {"name": "m"}})
        (made,) = await node.sent(1)
    assert made["class"] == "a" and made["confidence"] == pytest.approx(0.5, abs=1e-3)
    assert [one["class"] for one in made["classes"]] == ["a", "c"]
    assert made["model"] == {"name": "m"}


async def test_several_may_be_right_or_none():
    """Sigmoid; and a least confidence that nothing reaches."""
    async with drive(Classify, scores="sigmoid", least=0.4) as node:
        await node.put(np.array([2.0, -1000.0, 0.0], np.float32), np.array([-3.0, -4.0], np.float32), [1.0, 5])
        two, none, listed = await node.sent(3)
    assert [one["class"] for one in two["classes"]] == ["0", "2"]
    assert none["class"] is None and none["classes"] == []
    assert listed["class"] == "1"
    async with drive(Classify, scores="as they are") as node:
        await node.put([0.25, 0.75])
        assert (await node.sent(1))[0]["confidence"] == 0.75


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (np.zeros((2, 3), np.float32), "one row of scores, got float32 (2, 3)"),
        (np.zeros((1, 0), np.float32), "one row of scores"),
        (np.zeros(4, np.float32), "4 classes, and 3 have names"),
        (np.array([1, np.nan, 0], np.float32), "not all finite"),
        ({"outputs": {"other": LOGITS}}, "no output 'scores'; it has: other"),
        (None, "'output' is NoneType"),
    ],
)
async def test_what_is_no_row_of_scores_is_told(payload, says):
    """By its shape, its length, its values or its name."""
    async with drive(Classify, names=["a", "b", "c"], output="scores" if isinstance(payload, dict) else "") as node:
        await node.put(payload, {"outputs": {"scores": LOGITS}})
        await node.sent(1)
    assert says in node.given_up[0]["text"]
