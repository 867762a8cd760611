"""The models of `nets.py` as programs of torch.export. Imported without PyTorch, used with it."""

from pathlib import Path


def _save(path: Path, module, given: tuple, shapes: dict) -> Path:
    import torch

    torch.export.save(torch.export.export(module.eval(), given, dynamic_shapes=shapes), path)
    return path


def doubler(path: Path) -> Path:
    """y = 2 x, of three values a row."""
    import torch

    class Doubler(torch.nn.Module):
        def forward(self, x):
            return {"y": 2 * x}

    return _save(path, Doubler(), (torch.zeros(2, 3),), {"x": {0: torch.export.Dim("batch", min=1, max=64)}})


def adder(path: Path) -> Path:
    """sum = left + right, and the same as int64."""
    import torch

    class Adder(torch.nn.Module):
        def forward(self, left, right):
            total = left + right
            return {"sum": total, "whole": total.to(torch.int64)}

    rows = torch.export.Dim("n", min=1, max=64)
    given = torch.zeros(3, 2), torch.zeros(3, 2)
    return _save(path, Adder(), given, {"left": {0: rows}, "right": {0: rows}})
