"""Cases through flowcore: imported from their Node-RED export, then run by the engine.

`Driven` runs the node of a case by `flowcore.node.testing.drive`: the engine is the real one, and its clock is moved
in place of waiting, so all cases take seconds. `Deployed` runs cases as one flow on a real host, with processes and
wires: those of several nodes, which can't be driven one by one, and some of every node.
"""

import asyncio
import contextlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from flowcore.bus.envelope import pack, unpack
from flowcore.convert.nodered import turn
from flowcore.flow.resolved import ResolvedFlow
from flowcore.flow.types import NodeTypeInfo
from flowcore.flow.validate import check
from flowcore.node import Node
from flowcore.node.context import Context
from flowcore.node.message import Message
from flowcore.node.testing import MemoryValues, drive
from flowcore.runtime.host import Host
from tests.parity.cases import Case
from tests.parity.export import own_export, own_id
from tests.parity.outcome import Outcome, live, our_parts

LATER_S = 0.5  # processes and wires take longer than one event loop
_LONGEST_START_S = 60
_AS_FAST_AS_IT_GOES_MS = 3  # a case with a longer time between messages means one after the other

Types = Mapping[str, NodeTypeInfo]


class NotImported(Exception):
    """The case's node could not be turned, or what it became is not valid."""


def imported(cases: Iterable[Case], types: Types) -> tuple[dict[str, Any], ResolvedFlow]:
    """The cases as one flow of ours; a junction stands at each end.

    Raises:
        NotImported: says why.
    """
    exports = [own_export(case, lambda port: {"type": "junction", "name": ""}) for case in cases]
    nodes = [node for export in exports for node in export if node["type"] != "tab"]
    tab = {"id": "all", "type": "tab", "label": "parity", "env": exports[0][0].get("env", [])}
    found = turn(json.dumps([tab, *({**node, "z": "all"} for node in nodes)]))
    (document,) = found.flows
    if found.not_turned:
        raise NotImported("; ".join(map(str, found.not_turned)))
    checked = check(json.dumps(document), "parity.json", types, {}, set())
    if checked.resolved is None:
        raise NotImported("; ".join(map(str, checked.errors)))
    return document, checked.resolved


def message_of(case_message: dict[str, Any]) -> dict[str, Any]:
    """A message of a case as our payload, topic and meta."""
    msg = live(case_message)
    if isinstance(msg.get("parts"), dict):
        msg["parts"] = our_parts(msg["parts"])
    payload, topic = msg.pop("payload", None), msg.pop("topic", "")
    return {"payload": payload, "topic": topic if isinstance(topic, str) else str(topic), "meta": msg}


def theirs(message: Message) -> dict[str, Any]:
    """Our message as Node-RED's."""
    return {**message.meta, "payload": message.payload, "topic": message.topic}


class Driven:
    """Runs cases of one node.

    Args:
        types, classes: the node types there are.
        script_socket: where the zygote for scripts listens.
    """

    def __init__(self, types: Types, classes: Mapping[str, type[Node]], script_socket: str) -> None:
        self._types, self._classes, self._socket = types, classes, script_socket

    def takes(self, case: Case) -> bool:
        """Whether the case became one node, which can be driven; else it is to be deployed.

        Raises:
            NotImported: the node could not be turned.
        """
        return case.is_single and len(imported([case], self._types)[1].nodes) == 1

    async def run(self, case: Case) -> Outcome:
        """What came out of a case that it takes.

        Raises:
            NotImported: the node could not be turned.
        """
        document, resolved = imported([case], self._types)
        (node,) = resolved.nodes.values()
        ends = _ends(document, [case])
        contexts = MemoryValues()
        for scope, name in (("flow", "test"), ("global", "global")):
            for key, value in case.context.get(scope, {}).items():
                await Context(contexts, name).set(key, live(value))
        made = drive(self._classes[node.type], contexts=contexts, extras={"script_socket": self._socket}, **node.config)
        async with made as driven:
            for number, step in enumerate(case.send):
                if "wait_ms" in step:
                    await driven.advance(step["wait_ms"] / 1000)
                else:
                    message = message_of(step)
                    payload, envelope = message.pop("payload"), {"trace": f"outside:{number}"}
                    await driven.put(payload, **message, **envelope)
                    await driven.advance(case.between_ms / 1000)
            await driven.advance(case.after_ms / 1000)
            ports = {
                id(message): number for (_, port), (_, number) in ends.items() for message in driven.messages(port)
            }
            sent = [message for message in driven.messages() if id(message) in ports]
            outcome: Outcome = [{"port": ports[id(one)], "msg": theirs(one)} for one in sent]
            return outcome + [{"error": error.get("text")} for error in driven.errors]


class Deployed:
    """Runs cases as one flow on a host."""

    def __init__(self, host: Host, types: Types) -> None:
        self._host, self._types = host, types

    async def run(self, cases: list[Case]) -> dict[str, Outcome]:
        """What came out of each case, by its id; all run at once.

        Raises:
            NotImported: a node could not be turned.
        """
        document, _ = imported(cases, self._types)
        ends, outcomes = _ends(document, cases), {case.id: [] for case in cases}
        flow = document["id"]

        def heard(subject: str, data: bytes, *_: Any) -> None:
            _, _, node, kind, *port = subject.split(".")
            if kind == "error":
                outcomes[node.partition("-")[0]].append({"error": unpack(data).get("text")})
            elif kind == "out" and (node, port[0]) in ends:
                id, number = ends[node, port[0]]
                for one in unpack(data):
                    msg = {**one["meta"], "payload": one["payload"], "topic": one["topic"]}
                    outcomes[id].append({"port": number, "msg": msg})

        await self._host.bus.connection.subscribe(f"flow.{flow}.>", heard)
        result = await self._host.documents.deploy(json.dumps(document), "parity.json")
        if result.failed or result.problems:
            raise NotImported(f"{result.failed} {result.problems}")
        await self._until_all_run()
        await asyncio.gather(*(self._feed(flow, case) for case in cases))
        return outcomes

    async def _until_all_run(self) -> None:
        async with asyncio.timeout(_LONGEST_START_S):
            while True:
                if all(node.state == "running" for flow in self._host.status() for node in flow.nodes):
                    return
                await asyncio.sleep(0.05)

    async def _feed(self, flow: str, case: Case) -> None:
        into = f"flow.{flow}.{own_id(case, case.into)}.in.in"
        for step in case.send:
            if "wait_ms" in step:
                await asyncio.sleep(step["wait_ms"] / 1000)
            elif case.between_ms > _AS_FAST_AS_IT_GOES_MS:
                with contextlib.suppress(TimeoutError):  # what comes of it is among the errors
                    await self._host.bus.connection.request(into, pack(message_of(step)), timeout=10)
            else:
                self._host.bus.connection.publish(into, pack(message_of(step)))
                await asyncio.sleep(case.between_ms / 1000)
        await asyncio.sleep(case.after_ms / 1000 + LATER_S)


def _ends(document: dict[str, Any], cases: Iterable[Case]) -> dict[tuple[str, str], tuple[str, int]]:
    """(our node, its port) -> (id of the case, the output of theirs that it stands for)."""
    found: dict[tuple[str, str], tuple[str, int]] = {}
    ids = {case.id for case in cases}
    for wire in document["wires"]:
        (node, port), (id, _, name) = wire["from"].split("."), wire["to"].partition(".")[0].partition("-")
        if id in ids and name.startswith("end"):
            found[node, port] = (id, int(name.removeprefix("end")))
    return found
