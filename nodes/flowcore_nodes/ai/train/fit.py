"""Training, export to ONNX, quantisation to INT8."""

import time
from pathlib import Path

import numpy as np
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from flowcore_nodes.ai.train import belts
from flowcore_nodes.ai.train.net import Detector, Exported, loss

IN_VIEW = 0.6  # parts of which less is in view are neither right nor wrong
_STRIP = 96  # rows of a picture that are trained on


def trained(steps: int, batch: int = 8, seed: int = 1) -> Detector:
    """A detector that has seen `steps` batches; says each hundred how far it is."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = Detector(len(belts.NAMES)).to(memory_format=torch.channels_last)
    pictures = belts.varied(belts.TRAINING_SEEDS, rng)
    best = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-3)
    plan = torch.optim.lr_scheduler.OneCycleLR(best, 4e-3, total_steps=steps, pct_start=0.15)
    began_s, lately = time.monotonic(), []
    for step in range(1, steps + 1):
        images, truths = zip(*(belts.strip(*next(pictures), _STRIP, rng) for _ in range(batch)), strict=True)
        given = torch.from_numpy(np.stack([belts.tensor(image) for image in images]))
        with torch.autocast("cpu", torch.bfloat16):
            said = net(given.to(memory_format=torch.channels_last))
        wrong = loss(
            said.float(),
            [torch.from_numpy(one.boxes) for one in truths],
            [torch.from_numpy(one.classes) for one in truths],
            [torch.from_numpy(one.visible < IN_VIEW) for one in truths],
        )
        best.zero_grad()
        wrong.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        best.step()
        plan.step()
        lately.append(wrong.item())
        if step % 100 == 0 or step == steps:
            print(f"step {step} of {steps}: loss {np.mean(lately):.4f}, {time.monotonic() - began_s:.0f} s", flush=True)
            lately.clear()
    return net.eval()


def export(net: Detector, path: Path) -> None:
    """Write it as ONNX; any number of pictures a run."""
    with torch.no_grad():
        torch.onnx.export(
            Exported(net, belts.HEIGHT, belts.WIDTH).eval(),
            (torch.zeros(2, 3, belts.HEIGHT, belts.WIDTH),),
            path,
            input_names=["images"],
            output_names=["output0"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1, max=1024)}},
            opset_version=18,
            external_data=False,
            dynamo=True,
        )


class _Calibration(CalibrationDataReader):
    def __init__(self, pictures: int) -> None:
        drawn = belts.varied(belts.CALIBRATION_SEEDS, np.random.default_rng(2))
        self._left = iter([{"images": belts.tensor(next(drawn)[0])[None]} for _ in range(pictures)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


def quantise(path: Path, to: Path, pictures: int = 200) -> None:
    """Weights and what flows between convolutions become INT8; the decoding stays float."""
    import onnx

    prepared = to.with_suffix(".prepared.onnx")
    quant_pre_process(str(path), str(prepared))
    convolutions = [one.name for one in onnx.load(prepared).graph.node if one.op_type == "Conv"]
    quantize_static(
        str(prepared),
        str(to),
        _Calibration(pictures),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "Add", "Relu"],
        nodes_to_exclude=convolutions[-2:],  # the two heads
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range=True,  # else sums overflow on processors without VNNI
    )
    prepared.unlink()
