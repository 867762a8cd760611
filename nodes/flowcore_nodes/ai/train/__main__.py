"""`python -m flowcore_nodes.ai.train`: train the conveyor's detector, export it, quantise it, judge it.

python -m flowcore_nodes.ai.train                       all of it, into ./conveyor.onnx and ./conveyor-int8.onnx
python -m flowcore_nodes.ai.train evaluate [FILE]       judge a model on belts that nobody trained on
"""

import argparse
import json
import sys
from pathlib import Path

from flowcore_nodes.ai.engines import path_of


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m flowcore_nodes.ai.train", description=(__doc__ or "").strip())
    parser.add_argument("what", nargs="?", choices=["all", "evaluate"], default="all")
    parser.add_argument("file", nargs="?", default="builtin:conveyor", help="model that is judged")
    parser.add_argument("--steps", type=int, default=2500, help="batches of 8 pictures")
    parser.add_argument("--folder", type=Path, default=Path(), help="where the models are written")
    parser.add_argument("--seeds", type=int, default=20, help="unseen belts that are judged on")
    parser.add_argument("--seconds", type=int, default=60, help="of each belt")
    given = parser.parse_args()
    files = [path_of(given.file)]
    if given.what == "all":
        from flowcore_nodes.ai.train.fit import export, quantise, trained

        files = [given.folder / "conveyor.onnx", given.folder / "conveyor-int8.onnx"]
        export(trained(given.steps), files[0])
        quantise(files[0], files[1])
    from flowcore_nodes.ai.train.evaluate import evaluate

    for file in files:
        print(
            json.dumps({"file": file.name, "bytes": file.stat().st_size, **evaluate(file, given.seeds, given.seconds)})
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
