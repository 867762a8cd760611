"""Where OpenCV is not installed the nodes are listed with the line that brings it, and nothing else breaks."""

import json
import subprocess
import sys

_PROGRAM = """
import importlib.machinery, json, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "cv2":
            raise ModuleNotFoundError(name, name=name)

import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "cv2" else found(name, *rest)
sys.meta_path.insert(0, Missing())
from flowcore.runtime.typelist import read
types = read()
print(json.dumps([[p.text for p in types.problems], {i.type: i.missing for i in types.types.values()}]))
"""


def test_without_opencv_the_nodes_are_listed_as_missing():
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60)
    problems, missing = json.loads(done.stdout or done.stderr)
    assert problems == []
    assert missing["vision/camera"] == "pip install 'flowcore[vision]'" and missing["core/inject"] is None


def test_there_is_one_cv2():
    """Two packages of it overwrite each other's files."""
    from importlib.metadata import packages_distributions

    assert packages_distributions()["cv2"] == ["opencv-python-headless"]
