"""A `.pt2` file without what would run code when PyTorch loads it.

`torch.export.load` trusts its file: sample inputs and odd weights are pickles, shapes are evaluated as Python by
sympy, operators are looked up by any name below `torch`. Here the archive is read first. What is not needed to run the
program is left out, and a program that needs more than tensors and PyTorch's own operators is refused.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowcore_nodes.ai.engines import ModelError

_ARITHMETIC = "add|sub|mul|floordiv|truediv|mod|neg|pos|abs|pow|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem"
_OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims|prim|quantized_decomposed|higher_order)\.\w+(\.\w+)?|torch\.sym_\w+|math\.\w+"
    rf"|_operator\.({_ARITHMETIC})"
)
_LENGTHS = re.compile(r"[su]\d+")
_SYMBOL = re.compile(r"Symbol\('([su]\d+)'(, (positive|nonnegative|integer)=True)*\)")  # as sympy writes a length
_FUNCTIONS = frozenset(
    ("Max", "Min", "Mod", "PythonMod", "FloorDiv", "CleanDiv", "CeilDiv", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And",
     "Or", "Not", "Integer", "Add", "Mul", "Pow", "oo", "int_oo", "True", "False")
)  # fmt: skip
_WORDS = re.compile(r"[A-Za-z_]\w*")
_SUM = re.compile(r"[\w\s+\-*/(),<>=.]*")
_LARGEST_JSON = 64 << 20


def safe(file: Path) -> io.BytesIO:
    """The archive as `torch.export.load` may have it.

    Raises:
        ModelError: it is no such archive, or holds what would be run when it is loaded.
    """
    made = io.BytesIO()
    try:
        with zipfile.ZipFile(file) as archive, zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as kept:
            programs = [one for one in archive.namelist() if re.fullmatch(r"[^/]+/models/[^/]+\.json", one)]
            if len(programs) != 1:
                raise ModelError(f"{file}: not what torch.export.save writes, it has {len(programs)} programs in it")
            for entry in archive.infolist():
                kept.writestr(entry.filename, _entry(file, archive, entry))
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, zipfile.error) as e:
        raise ModelError(f"{file}: not a whole .pt2 archive: {e}") from None
    made.seek(0)
    return made


def _entry(file: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    name = entry.filename.partition("/")[2]
    if name.startswith("data/sample_inputs/"):
        return b""
    if name.startswith(("data/aotinductor", "data/executorch")):
        raise ModelError(f"{file}: holds compiled code ({name}), which is not loaded; save it with torch.export.save")
    if name.startswith("data/constants/custom_obj"):
        raise ModelError(f"{file}: holds a pickled object ({name}), which is code, and is not loaded")
    data = archive.read(entry)
    if name.endswith(".json"):
        return _checked(file, name, data)
    return data


def _checked(file: Path, name: str, data: bytes) -> bytes:
    if len(data) > _LARGEST_JSON:
        raise ModelError(f"{file}: {name} is larger than {_LARGEST_JSON >> 20} MiB")
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as e:
        raise ModelError(f"{file}: {name} is no JSON: {e}") from None
    for key, value in _walk(said):
        if key == "use_pickle" and value:
            raise ModelError(f"{file}: weights are pickled ({name}), which is code, and is not loaded")
        if key == "target" and isinstance(value, str) and not _OPERATORS.fullmatch(value):
            raise ModelError(f"{file}: uses {value!r}, which is no operator of PyTorch's own, and is not loaded")
        if key in ("expr_str", "as_expr") and isinstance(value, str) and not _is_sum(value):
            raise ModelError(f"{file}: a shape is {value[:80]!r}, which is no arithmetic of lengths, and is not loaded")
    if isinstance(said, dict) and "guards_code" in said:
        said["guards_code"] = []  # Python that checks inputs; they are checked before
        return json.dumps(said).encode()
    return data


def _is_sum(text: str) -> bool:
    text = _SYMBOL.sub(r"\1", text)
    words = _WORDS.findall(text)
    return bool(_SUM.fullmatch(text)) and all(word in _FUNCTIONS or _LENGTHS.fullmatch(word) for word in words)


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield from one.items()
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
