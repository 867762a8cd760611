"""What a supervised process needs, without a host: a real fork server with the fake runner, and a list of events."""

import asyncio
import os
from pathlib import Path

from flowcore.runtime.forkclient import ForkServer
from flowcore.runtime.processplan import ProcessPlan

ENVIRON = {"PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parents[2]}", "PATH": os.environ["PATH"]}
WIRE = {"producer": "p", "port": "out", "consumer": "n", "in_port": "in"}


class Around:
    start_timeout_s = 10.0

    def __init__(self):
        self.server = ForkServer(runner="fake_runner", environ=ENVIRON)
        self.inc = 0
        self.happened = []
        self.news = asyncio.Event()

    def next_incarnation(self):
        self.inc += 1
        return self.inc

    def fork_server(self, needs):
        return self.server

    def spec(self, plan, inc):
        return {"process": plan.process, "config": plan.config, "wires_in": list(plan.wires_in), "inc": inc}

    def changed(self, supervised, event, text, **fields):
        self.happened.append((event, text))
        self.news.set()

    def moved(self, supervised):
        pass

    def frame(self, supervised, message):
        self.happened.append((message["op"], message))
        self.news.set()

    def line(self, supervised, stream, text):
        self.happened.append(("line", text))
        self.news.set()

    async def until(self, event, timeout=10):
        async with asyncio.timeout(timeout):
            while True:
                for one in self.happened:
                    if one[0] == event:
                        return one[1]
                self.news.clear()
                await self.news.wait()


def plan(process="n", **changes):
    settings = {"restart": {"limit": 3, "window_s": 60, "backoff_s": 0.01, "max_s": 0.1}, "drain_timeout_s": 2}
    fields = {"config": {}, "settings": settings, "wires_in": (WIRE,), **changes}
    return ProcessPlan("f", process.partition("#")[0], process, "test/fake", "m", "Q", **fields)
