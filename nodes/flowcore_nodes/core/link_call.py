import asyncio
import difflib
import secrets
from typing import Literal

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore.node.calls import DEEPEST, answered, called, depth


class CallTimeout(Exception):
    """A call was not answered in time."""


class LinkCall(Node):
    """Call a link-in, of this flow or another, and go on with what a link-out in mode `return` answers.

    What stands between the two is a subroutine that many may call. Calls may be made inside calls. With `mode` dynamic
    the message names the link-in, by id or name, in `meta.target`. A call that is not answered in time is an error of
    its message, which goes to a catch; with `retry` in the settings it is called again.

    The message waits un-acked until it is answered: when this node is killed, it calls again what was not answered, so
    a callee may see a call twice, and never none. When a callee is killed it handles what it had once more; an answer
    that was on its way may be lost then, and that call times out. Answers after the first, or after the time-out, are
    counted in the status, or sent on too (`late`), as Node-RED does.

    The way back is in the message's `meta` (`_linkSource`): a node that makes messages with another meta ends the call
    in nothing. A subroutine may call itself; each call that waits takes one of `max_in_flight`.
    """

    type = "core/link-call"
    title = "Link call"
    category = "common"
    icon = "phone-outgoing"
    caller = True
    waits = "max_in_flight"

    class Config(NodeConfig):
        mode: Literal["static", "dynamic"] = field(
            "static", description="Call the link-in that `links` names, or the one that `meta.target` of a message does"
        )
        links: list[str] = field(
            [],
            description="Link-ins by id or name, `<flow>/<id or name>` for one in another flow. Static: the one "
            "called; dynamic: those that may be, `<flow>/*` for all of a flow, empty for all of this one",
        )
        timeout_s: float = field(30.0, gt=0, le=86_400, description="Longest wait for an answer, in seconds")
        max_in_flight: int = field(
            100, ge=1, le=10_000, description="Calls that may be waiting at once; the next message waits for its turn"
        )
        late: Literal["count", "send"] = field(
            "count", description="What becomes of an answer after the first, or after the time-out"
        )
        targets: dict[str, str] = field(
            {}, widget="hidden", description="Filled in at deploy: which name leads to which output"
        )

    in_ = In()
    answer = In(aside=True)
    out = Out(description="what came back")

    def on_start(self) -> None:
        self._waiting: dict[str, asyncio.Future[Message]] = {}
        self._incarnation = secrets.token_hex(6)  # an answer to a call of an earlier process is nobody's
        self._calls = self._late = 0

    def on_reconfigure(self, old: "LinkCall.Config") -> None:
        """What may be called, how long: nothing to restart for. Calls that wait go on."""

    async def on_message(self, message: Message) -> Message:
        """Call, wait, go on."""
        port = self._port(message)
        if depth(message.meta) >= DEEPEST:
            raise GiveUp(f"{DEEPEST} calls inside each other: this flow calls itself without end")
        self._calls += 1
        call = f"{self._incarnation}:{self._calls}"
        answer = self._waiting[call] = asyncio.get_running_loop().create_future()
        timeout_s = self.config.timeout_s
        limit = self.within(timeout_s)
        try:
            async with limit:
                meta = called(message.meta, f"{self.flow}/{self.id}", call)
                await self.send(message.derive(meta=meta), port=port, held=False)
                reply = await answer
        except TimeoutError:
            if not limit.expired():
                raise
            raise CallTimeout(f"link-in {self._name(message)!r} did not answer within {timeout_s:g} s") from None
        except LookupError:  # no such output: nothing is wired to it
            raise GiveUp(f"link-in {self._name(message)!r} leads nowhere: nothing is wired to it") from None
        finally:
            del self._waiting[call]
        return message.derive(reply.payload, topic=reply.topic, meta=reply.meta)

    def on_aside(self, message: Message) -> None:
        """An answer: for a call that waits, or too late."""
        call, meta = answered(message.meta)
        reply = message.derive(meta=meta)
        waiting = self._waiting.get(call)
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)
            return
        self._late += 1
        if self._late & (self._late - 1) == 0:  # at 1, 2, 4, 8 ...: many late answers are no flood of statuses
            self.set_status(f"{self._late} answers came late", "warn")
        if self.config.late == "send":
            self.spawn(self._send_late(reply))

    async def _send_late(self, reply: Message) -> None:
        await self.send(reply)

    def _name(self, message: Message) -> str:
        if self.config.mode == "static":
            return self.config.links[0] if self.config.links else ""
        return str(message.meta.get("target", ""))

    def _port(self, message: Message) -> str:
        """The output that leads to what is called.

        Raises:
            GiveUp: the message names nothing that may be called.
        """
        targets = self.config.targets
        name = self._name(message)
        if self.config.mode == "static":
            if not targets:
                raise GiveUp(f"link-in {name!r} cannot be called now: its flow is not deployed")
            return next(iter(targets.values()))
        if not isinstance(message.meta.get("target"), str) or not name:
            raise GiveUp("meta.target must be the id or name of a link-in")
        port = targets.get(name)
        if port is None:
            near = difflib.get_close_matches(name, targets, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise GiveUp(f"no link-in {name!r} may be called here{hint} (there are: {', '.join(targets) or 'none'})")
        if not port:
            raise GiveUp(f"several link-ins are named {name!r}: say which by its id")
        return port
