"""The environment of node processes: what programs need to work, and nothing that could be a secret.

The host's own environment may hold passwords that flows use by `{"$env": ..}`; the host fills those into a node's
config, so no other node sees them.
"""

from collections.abc import Mapping

_NAMES = """
    PATH HOME USER LOGNAME SHELL LANG LANGUAGE TZ TMPDIR TEMP TMP TERM HOSTNAME
    DISPLAY WAYLAND_DISPLAY XAUTHORITY VIRTUAL_ENV CONDA_PREFIX LD_LIBRARY_PATH
    FLOWCORE_AGENTS FLOWCORE_SHM SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE NO_PROXY no_proxy
"""
NAMES = frozenset(_NAMES.split())
_PREFIXES = "LC_ PYTHON XDG_ CUDA_ NVIDIA_ CUPY_ OMP_ OPENBLAS_ MKL_ OPENCV_ GST_ QT_ ROCR_"
PREFIXES = tuple(_PREFIXES.split())


def for_nodes(environ: Mapping[str, str]) -> dict[str, str]:
    """What of `environ` node processes get."""
    return {name: value for name, value in environ.items() if name in NAMES or name.startswith(PREFIXES)}
