import asyncio
import time
from typing import Any

from pydantic import model_validator

from flowcore.node import In, Message, Node, NodeConfig, Out, field
from flowcore_nodes.core.again import Again
from flowcore_nodes.iot.modbus import DeviceRefused, Line, Master, Value, blocks


class ModbusRead(Node):
    """Read values of Modbus devices, in a rhythm and when a message asks for it.

    Values that are due together are read with as few requests as they need, and come as one map, name by name. A
    device that does not answer, or has no such register, is told once and named in meta.errors; its other values, and
    other devices of the line, come all the same. A line that is cut is tried again until it is back.
    """

    type = "iot/modbus-read"
    title = "Modbus read"
    category = "iot"
    icon = "gauge"
    needs = ("pymodbus", "serial")
    install = "pip install 'flowcore[modbus]'"

    class Config(NodeConfig):
        line: Line = field(Line(), description='The line, or {"$use": "name"} of a resource iot/modbus-line')
        values: list[Value] = field(..., min_length=1, description="What is read")
        every_s: float = field(1.0, ge=0, le=86_400, description="How often, in seconds; 0: only when a message asks")
        gap: int = field(8, ge=0, le=100, description="Unused addresses that are read along to save a request")

        @model_validator(mode="after")
        def _names_once(self) -> "ModbusRead.Config":
            names = [value.name for value in self.values]
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"values have names of their own; twice: {', '.join(sorted(twice))}")
            return self

    in_ = In(description="asks for all values at once")
    out = Out(dict, description="name -> value; meta.errors: name -> why there is none")

    async def on_start(self) -> None:
        self._master = Master(self.config.line)
        self._link = Again(self, str(self.config.line))
        self._turn = asyncio.Lock()
        self._told: dict[str, str] = {}
        self._groups: dict[float, list[Value]] = {}
        for value in self.config.values:
            self._groups.setdefault(value.every_s or self.config.every_s, []).append(value)

    async def run(self) -> None:
        try:
            await self._link.run(self._poll)
        finally:
            self._master.close()

    async def _poll(self) -> None:
        async with self._turn, self._master.turn():
            pass  # it can be had
        self._link.up()
        now_s = time.monotonic()
        due_s = {every_s: now_s for every_s in self._groups if every_s}
        while due_s:
            every_s = min(due_s, key=due_s.__getitem__)
            await asyncio.sleep(max(0.0, due_s[every_s] - time.monotonic()))
            payload, errors = await self._read(self._groups[every_s])
            await self.send(payload, topic=str(self.config.line), meta={"errors": errors} if errors else {})
            due_s[every_s] = max(due_s[every_s] + every_s, time.monotonic())  # what it is late is not caught up
        await asyncio.Event().wait()

    async def on_message(self, message: Message) -> Message:
        payload, errors = await self._read(self.config.values)
        return message.derive(payload, meta={**message.meta, **({"errors": errors} if errors else {})})

    async def _read(self, values: list[Value]) -> tuple[dict[str, Any], dict[str, str]]:
        """What could be read, and why not the rest. Raises ConnectionError, OSError when the line is gone."""
        payload: dict[str, Any] = {}
        errors: dict[str, str] = {}
        silent: dict[int, str] = {}  # devices that did not answer: they are not asked for their other values
        async with self._turn, self._master.turn() as master:
            for block in blocks(values, self.config.gap):
                device = block[0].device
                try:
                    if device not in silent:
                        payload |= await master.read(block)
                        continue
                except TimeoutError as e:
                    silent[device] = str(e)
                except DeviceRefused as e:
                    if len(block) > 1:
                        await self._read_alone(master, block, payload, errors)
                    else:
                        errors[block[0].name] = str(e)
                    continue
                errors |= {value.name: silent[device] for value in block}
        if errors and not payload and all("no answer" in why for why in errors.values()):
            self._master.close()
            raise ConnectionError(next(iter(errors.values())))
        self._tell(values, errors)
        return payload, errors

    async def _read_alone(
        self, master: Master, block: list[Value], payload: dict[str, Any], errors: dict[str, str]
    ) -> None:
        """One bad address must not take its neighbours along."""
        for value in block:
            try:
                payload |= await master.read([value])
            except (DeviceRefused, TimeoutError) as e:
                errors[value.name] = str(e)

    def _tell(self, values: list[Value], errors: dict[str, str]) -> None:
        news: dict[str, list[str]] = {}
        for value in values:
            why = errors.get(value.name)
            if why is None:
                self._told.pop(value.name, None)
            elif self._told.get(value.name) != why:
                self._told[value.name] = why
                news.setdefault(why, []).append(value.name)
        for why, names in news.items():
            self.report(ValueError(f"{', '.join(names)}: {why}"))
        if self._told:
            self.set_status(f"{self.config.line}: {len(self._told)} values can't be read", "warn")
        else:
            self._link.up()
