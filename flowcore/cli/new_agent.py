"""`flowcore new-agent NAME`: an agent and its test in the folder of agents, to begin with."""

from pathlib import Path
from typing import Annotated

import typer

from flowcore.cli.options import DATA, Data, Json

_NAME = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"

_AGENT = '''\
"""An agent is one class in a file of this folder: save it, and the nodes that use it go on with the new one."""

from flowcore.node import Agent, NodeConfig, field


class {cls}(Agent):
    """Say when a value is above a limit, and when it is not any more."""

    class Config(NodeConfig):
        limit: float = field(80.0, description="Above this it is said, in the unit of the value")

    def on_message(self, message):
        is_above = message.payload > self.config.limit
        if is_above == self.state.get(message.topic, False):
            return None
        self.state[message.topic] = is_above
        side = "above" if is_above else "below"
        text = f"{{message.topic or 'the value'}} is {{side}} the limit: {{message.payload:g}}"
        return self.act(message, ["log"], text, level="warning" if is_above else "info")
'''

_TEST = '''\
"""What the agent promises, tested without a bus or processes: pytest -o asyncio_mode=auto {folder}"""

from flowcore.node.testing import drive
from flowcore_agents.{module} import {cls}


async def test_it_says_each_change_once():
    """Above, and below again."""
    async with drive({cls}, limit=50) as agent:
        await agent.put(40, 60, 70, 45, topic="oven")
        assert await agent.sent(port="action") == ["oven is above the limit: 60", "oven is below the limit: 45"]
        assert agent.messages("action")[0].meta["do"] == ["log"]


async def test_a_value_that_is_no_number_is_an_error_of_its_own():
    """The next one is looked at all the same."""
    async with drive({cls}, limit=50) as agent:
        await agent.put("hot", 60)
        assert len(agent.errors) == 1
        assert len(await agent.sent(port="action")) == 1
'''


def new_agent(
    name: Annotated[str, typer.Argument(help="What it is called, such as too-hot.")],
    folder: Annotated[
        Path | None, typer.Option("--in", metavar="FOLDER", help="The folder of agents; else flows/agents/.")
    ] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Make an agent and its test in the folder of agents: a runtime that runs there finds it."""
    import re

    from flowcore.cli import out
    from flowcore.runtime import agentfolder

    if not re.fullmatch(_NAME, name):
        raise out.Misused(f"{name!r} is no name for an agent", "Small letters, digits and '-', for example: too-hot")
    where = folder or Path(agentfolder.folders()[0] if agentfolder.folders() else agentfolder.beside(data))
    module, cls = name.replace("-", "_"), "".join(part.capitalize() for part in name.split("-"))
    files = {where / f"{module}.py": _AGENT, where / f"test_{module}.py": _TEST}
    for file in files:
        if file.exists():
            raise out.Failed(f"{file} exists", "Choose another name, or another folder with --in")
    shown = where.relative_to(Path.cwd()) if where.is_relative_to(Path.cwd()) else where
    try:
        where.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            file.write_text(text.format(cls=cls, module=module, folder=shown), encoding="utf-8")
    except OSError as e:
        raise out.Failed(f"{where}: {e.strerror}", "Choose another folder with --in") from None
    text = (
        f"made {shown / module}.py and its test\nnext: flowcore nodes agent/{name}; pytest -o asyncio_mode=auto {shown}"
    )
    out.result(text, json, type=f"agent/{name}", files=sorted(map(str, files)))
