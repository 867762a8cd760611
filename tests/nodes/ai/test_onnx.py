"""What `ai/model` makes of ONNX's own models and operator cases is what ONNX Runtime makes of them."""

import numpy as np
from flowcore_nodes.ai.engines import Options, open_model
from flowcore_nodes.ai.model import Model

from flowcore.node.testing import drive
from tests.nodes.ai.onnx_cases import cases, same

AT_LEAST = 1690  # of 1698 with onnx 1.23 and ONNX Runtime 1.32: the number may not shrink
EACH = 12  # of them goes through the node as well


async def test_every_case_that_onnx_runtime_passes_comes_out_the_same(tmp_path, record_property):
    """Through the checks and the adapter all of them, through the node a sample."""
    count, through_node, wrong = 0, 0, []
    for case in cases(tmp_path):
        count += 1
        model = open_model(str(case.file), "onnxruntime", Options(threads=1))
        feeds, is_added = model.fitted(case.feeds)
        made = list(model.engine.run(feeds).values())
        model.engine.close()
        if is_added or not same(made, case.made):
            wrong.append(case.name)
        if count % EACH == 0 and case.feeds and all(type(one) is np.ndarray for one in [*case.feeds.values(), *made]):
            through_node += 1
            async with drive(Model, model=str(case.file), threads=1, warm_up=0, stats_s=0) as node:
                await node.put(
                    {name: one if one.dtype.kind in "fiub" else one.tolist() for name, one in case.feeds.items()}
                )
                outputs = (await node.sent(1))[0]["outputs"].values()
            if not same([one.numpy() if hasattr(one, "numpy") else one for one in outputs], case.made):
                wrong.append(f"{case.name}, through the node")
    record_property("cases", count)
    print(f"{count} cases are the same, {through_node} of them through the node")
    assert not wrong
    assert count >= AT_LEAST and through_node >= 50
