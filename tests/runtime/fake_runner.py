"""A runner for tests of the supervisor alone: no bus, no node classes; it does what its config says.

config: {"fail": text} ends in on_start, {"die_at_go": true} dies when told to go, {"die_on": [n, ..]} dies with message
n (injected) in the handler unless that message is a suspect of three tries, {"deaf": true} stops beating.
"""

import asyncio
import os
import signal
import sys

from flowcore.runtime import page as pages
from flowcore.runtime.link import Link


def main(spec, sock, memory):
    asyncio.run(_Runner(spec, memory).run(sock))


class _Runner:
    def __init__(self, spec, memory):
        self.spec, self.config = spec, spec["config"]
        self.page = pages.Page(memory)
        self.done = asyncio.Event()
        self.given_up = set()
        self.kept = []  # un-acked, handed over

    async def run(self, sock):
        self.link = await Link.open(sock, self.take, self.done.set)
        self.page.beat()
        if "fail" in self.config:
            self.link.send("fail", error=self.config["fail"], traceback="Traceback: " + self.config["fail"])
            await self.link.flush()
            return
        print("hello from", self.spec["process"], flush=True)
        self.page.set_state(pages.READY)
        self.link.send("ready")
        beating = asyncio.create_task(self.beat())
        await self.done.wait()
        beating.cancel()

    async def beat(self):
        while not (self.config.get("deaf") and self.page.state == pages.RUNNING):
            self.page.beat()
            await asyncio.sleep(0.05)

    def take(self, message):
        match message["op"]:
            case "go":
                if self.config.get("die_at_go"):
                    os.kill(os.getpid(), signal.SIGKILL)
                self.page.set_state(pages.RUNNING)
                self.page.beat()
                self.kept = [message["handover"]] if message.get("handover") else []
                for suspect in message["suspects"]:
                    if suspect["tries"] >= 3:
                        self.given_up.add(suspect["seq"])
                        self.link.send("gave_up", **{k: suspect[k] for k in ("wire", "epoch", "seq")})
                self.link.send("running")
            case "inject":
                self.handle(message["payload"])
            case "reconfigure":
                self.config = message["config"]
                error = self.config.get("refuse")
                self.link.answer(message, "reconfigured", error=error)
            case "rewire":
                self.link.answer(message, "rewired")
            case "last":
                self.link.answer(
                    message, "last", envelope={"payload": self.config, "kept": self.kept, "pid": os.getpid()}
                )
            case "drained":
                self.link.answer(message, "drained", unacked={"a.out>b.in": 1} if self.kept else {}, queued=0)
            case "stop":
                self.page.set_state(pages.DRAINING)
                self.link.answer(message, "bye", handover=b"".join(self.kept) + b"x", unacked={})
                self.done.set()
            case "burn":
                sys.exit(3)

    def handle(self, number):
        if number in self.given_up:
            return
        wire = self.spec["wires_in"][0]
        slot = self.page.enter(
            pages.wire_hash(f"{wire['producer']}.{wire['port']}>{wire['consumer']}.{wire['in_port']}"), 7, number
        )
        if number in self.config.get("die_on", ()):
            os.kill(os.getpid(), signal.SIGKILL)
        self.page.leave(slot)
