"""The options that every command has, so that they read alike everywhere."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Data = Annotated[
    Path,
    typer.Option("--data", help="The data folder of the runtime.", envvar="FLOWCORE_DATA", metavar="FOLDER"),
]
DATA = Path(".flowcore")
