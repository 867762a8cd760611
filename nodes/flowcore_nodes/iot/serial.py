import asyncio
import os
from typing import TYPE_CHECKING, Literal

from flowcore.node import GiveUp, In, Message, Node, Out, field
from flowcore.node.formats import read, write
from flowcore_nodes.core.again import Again
from flowcore_nodes.iot.framing import FrameTooLong, FramingConfig, framed, frames

if TYPE_CHECKING:
    pass


class Serial(Node):
    """Talk to a device on a serial port: what it says goes out, what comes in is written to it.

    A device that is unplugged is waited for, and messages to it with it. What comes while the flow is slow waits in the
    system's buffer for the port, which holds some 4 KB; with `rts_cts` the device waits, too. A message that is too
    long or can't be read is an error, and reading goes on behind it.
    """

    type = "iot/serial"
    title = "Serial"
    category = "iot"
    icon = "cable"
    needs = ("serial",)
    install = "pip install 'flowcore[serial]'"

    class Config(FramingConfig):
        port: str = field(..., min_length=1, description="Device, such as /dev/ttyUSB0 or /dev/serial/by-id/...")
        baud: int = field(9600, ge=50, le=4_000_000, description="Speed, in bits a second")
        data_bits: Literal[5, 6, 7, 8] = field(8, description="Bits of a character")
        parity: Literal["none", "even", "odd", "mark", "space"] = field("none", description="Parity")
        stop_bits: Literal[1, 1.5, 2] = field(1, description="Stop bits")  # type: ignore[valid-type]
        rts_cts: bool = field(False, description="Flow control by RTS and CTS")
        xon_xoff: bool = field(False, description="Flow control by software")

    in_ = In(description="written to the device: bytes and text as they are, all else as JSON")
    out = Out(description="what the device says")

    async def on_start(self) -> None:
        import serial

        self._library = serial
        self._link = Again(self, f"{self.config.port}, {self.config.baud} baud", (serial.SerialException,))
        self._port: serial.Serial | None = None

    async def run(self) -> None:
        await self._link.run(self._session)

    async def _session(self) -> None:
        config = self.config
        port = await asyncio.to_thread(
            self._library.Serial, config.port, config.baud, config.data_bits, config.parity[0].upper(),
            config.stop_bits, timeout=0, rtscts=config.rts_cts, xonxoff=config.xon_xoff, exclusive=True,
        )  # fmt: skip
        descriptor = port.fileno()
        loop, readable = asyncio.get_running_loop(), asyncio.Event()

        async def read_some(most: int) -> bytes:
            while True:
                loop.add_reader(descriptor, readable.set)
                try:
                    await readable.wait()
                finally:
                    loop.remove_reader(
                        descriptor
                    )  # while nobody waits for it, the system's buffer fills: back-pressure
                readable.clear()
                try:
                    return os.read(descriptor, most)  # b"": it was unplugged
                except BlockingIOError:
                    continue

        self._port = port
        self._link.up()
        try:
            while True:
                try:
                    async for frame in frames(read_some, config):
                        await self._pass_on(frame)
                    return
                except FrameTooLong as e:
                    self.report(FrameTooLong(f"{config.port}: {e}"))
        finally:
            self._port = None
            port.close()

    async def _pass_on(self, frame: bytes) -> None:
        try:
            await self.send(read(frame, self.config.format), topic=self.config.port)
        except (TypeError, ValueError) as e:
            self.report(ValueError(f"{self.config.port}: {e}"))

    async def on_message(self, message: Message) -> None:
        try:
            content = framed(write(message.payload, "auto"), self.config)
        except ValueError as e:
            raise GiveUp(str(e)) from None
        left = memoryview(content)
        while left:
            await self._link.until_up()
            port = self._port
            if port is None:
                await asyncio.sleep(0.01)
                continue
            try:
                left = left[os.write(port.fileno(), left) :]
            except BlockingIOError:  # the device takes no more just now
                await asyncio.sleep(0.005)
            except OSError:
                self._link.down()
                left = memoryview(content)  # from the beginning: half a message is none
