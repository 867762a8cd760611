import asyncio
from typing import Any

from pydantic import model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore_nodes.iot.modbus import DeviceRefused, Line, Master, Value

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 1.5


class ModbusWrite(Node):
    """Write values to Modbus devices.

    The payload is a map, name by name, or the value itself where only one is configured. A message is done when the
    device has answered; a name that is not configured, a value that does not fit its type, and what the device refuses
    are errors, and nothing of a message is written before all of it fits. While the line is cut messages wait in order.
    """

    type = "iot/modbus-write"
    title = "Modbus write"
    category = "iot"
    icon = "sliders-horizontal"
    needs = ("pymodbus", "serial")
    install = "pip install 'flowcore[modbus]'"
    outside = True

    class Config(NodeConfig):
        line: Line = field(Line(), description='The line, or {"$use": "name"} of a resource iot/modbus-line')
        values: list[Value] = field(..., min_length=1, description="What can be written: coils and holding registers")

        @model_validator(mode="after")
        def _can_be_written(self) -> "ModbusWrite.Config":
            for value in self.values:
                if value.table not in ("coil", "holding"):
                    raise ValueError(f"{value.name}: {value.table} can only be read")
            return self

    in_ = In(description="name -> value, or the value")
    out = Out(description="the message, when the devices have it")

    async def on_start(self) -> None:
        self._master = Master(self.config.line)
        self._values = {value.name: value for value in self.config.values}
        self._is_away = False

    async def on_stop(self) -> None:
        self._master.close()

    async def on_message(self, message: Message) -> Message:
        wanted = self._wanted(message.payload)
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                async with self._master.turn() as master:
                    for value, new in wanted:
                        await master.write(value, new)
                self._show("")
                return message
            except DeviceRefused as e:
                self._show("")
                raise GiveUp(str(e)) from None
            except (OSError, TimeoutError) as e:  # a write that is made twice does no harm
                self._master.close()
                self._show(str(e))
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)

    def _wanted(self, payload: Any) -> list[tuple[Value, Any]]:
        if not isinstance(payload, dict):
            if len(self._values) != 1:
                raise GiveUp(f"a map is needed, name by name ({', '.join(self._values)}), got {type(payload).__name__}")
            payload = {next(iter(self._values)): payload}
        wanted = []
        for name, new in payload.items():
            value = self._values.get(name)
            if value is None:
                raise GiveUp(f"no value {name!r} is configured; there is {', '.join(self._values)}")
            try:
                value.check(new)
            except ValueError as e:
                raise GiveUp(str(e)) from None
            wanted.append((value, new))
        return wanted

    def _show(self, trouble: str) -> None:
        if trouble and not self._is_away:
            self.report(ConnectionError(f"{self.config.line}: {trouble}"))
        self._is_away = bool(trouble)
        text = f"trying again: {self.config.line}: {trouble}" if trouble else f"connected: {self.config.line}"
        self.set_status(text, "error" if trouble else "ok")
