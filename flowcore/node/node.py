"""The base class of every node, and what a node may do while it runs.

A node is one class: ports, a `Config`, handlers. The engine (`flowcore.node.engine`) calls the handlers, one at a time
unless `concurrency` says otherwise, and does the rest: wires, acks, retries, state, statistics.

    GiveUp      raised by a handler: no retry, the message goes to `.error` at once
"""

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from flowcore.node.config import NodeConfig
from flowcore.node.message import Message
from flowcore.node.ports import In, Out

if TYPE_CHECKING:
    from flowcore.buffers import Tensor
    from flowcore.node.context import Context
    from flowcore.node.engine import Engine, Timer
    from flowcore.node.state import State
    from flowcore.wires.receipt import Receipt


class GiveUp(Exception):
    """This message can't be handled, and trying again will not help."""


class Node:
    """A stage of a flow. Subclass it, declare ports and a `Config`, write `on_message` or `run`.

    Handlers, sync (run in a thread, so that a slow one stops no heartbeat) or async:
        on_start()               connect and warm up here; the process this one replaces may still be at work
        on_go()                  before the first message, when `self.state` is there
        on_message(message)      returns nothing, one value or Message for the first output, or `Outputs(port=...)`;
                                 `yield` sends several; a list is a value
        on_batch(messages)       instead of on_message: takes what arrived together
        async run()              a source: `await self.send(...)` in a loop, until cancelled
        on_reconfigure(old)      a changed config without a restart; only where a class defines it
        on_stop()                after the last message
    """

    type: ClassVar[str] = ""
    version: ClassVar[int] = 1  # of the config: raise it when old configs no longer mean the same, and define `upgrade`
    title: ClassVar[str] = ""
    category: ClassVar[str] = ""
    icon: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()  # import names of optional libraries
    install: ClassVar[str] = ""  # what brings them: "pip install 'flowcore[iot]'"
    stateful: ClassVar[bool] = False  # keeps what it must not lose in self.state: concurrency stays 1
    context: ClassVar[tuple[str, ...]] = ()  # of "flow", "global": which shared contexts it may read and write
    script: ClassVar[bool] = False  # uses a sandboxed script worker
    runs_commands: ClassVar[bool] = False  # starts programs of its user's choice: not with `up --no-exec`
    virtual: ClassVar[str | None] = None  # resolved at deploy: no process
    caller: ClassVar[bool] = False  # calls link-ins, to which a deploy wires it (`flowcore.flow.calls`)
    speaks_for_instance: ClassVar[bool] = False  # its status is that of the subflow instance it stands in
    follows: ClassVar[str] = ""  # a config field: output -> the nodes behind it, which tell `done` and `failed` of it
    best_effort: ClassVar[bool] = False  # what fails here holds up nobody: wires drop then, a handler has its time
    waits: ClassVar[str] = ""  # a config field: how many messages its async handler may have at once, mostly waiting
    outside: ClassVar[bool | None] = None  # reaches files, machines ..: tests want a stub; None: if a source
    outputs_from: ClassVar[str | None] = None  # a config field that says how many outputs there are, or their names
    inputs_from: ClassVar[str | None] = None
    bus_publish: ClassVar[tuple[str, ...]] = ()  # config fields that hold subjects this node must publish to
    bus_subscribe: ClassVar[tuple[str, ...]] = ()

    class Config(NodeConfig):
        """No settings."""

    inputs: ClassVar[dict[str, In]] = {}
    outputs: ClassVar[dict[str, Out]] = {}

    config: Any  # an instance of Config
    state: "State"
    flow_context: "Context"
    global_context: "Context"
    id: str
    flow: str
    log: logging.Logger
    engine: "Engine"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        inputs: dict[str, In] = {}
        outputs: dict[str, Out] = {}
        for base in reversed(cls.__mro__):
            for port in vars(base).values():
                if isinstance(port, In):
                    inputs[port.name] = port
                elif isinstance(port, Out):
                    outputs[port.name] = port
        cls.inputs, cls.outputs = inputs, outputs

    # -- what a class may define ----------------------------------------------------------------------------------

    def on_start(self) -> Any:
        """Called first; sync or async. An exception stops the start, and a process to be replaced goes on."""

    def on_go(self) -> Any:
        """Called when this is the node's process and `self.state` is there, before the first message."""

    def on_stop(self) -> Any:
        """Called after the last message; sync or async."""

    @classmethod
    def upgrade(cls, config: dict[str, Any], version: int) -> dict[str, Any]:
        """The config of an older version of this type as this one wants it. A class with a `version` above 1 has one.

        It may be changed in place and returned. It is raw, as the flow file has it: fields may be left out, or hold
        `"${NAME}"`, `{"$use": ..}` and other references; of a resource it may be a part. What it raises stops the
        deploy, and is told with the node's name.

        Args:
            config: as an author wrote it.
            version: of this type, for which that was: 1 to `cls.version - 1`.
        """
        raise NotImplementedError(f"{cls.__name__} has version {cls.version} and no upgrade")

    @classmethod
    def is_source(cls) -> bool:
        """True when the class makes messages by itself (it defines `run`)."""
        return hasattr(cls, "run")

    @classmethod
    def is_live_config(cls) -> bool:
        """True when a changed config needs no restart (the class defines `on_reconfigure`)."""
        return hasattr(cls, "on_reconfigure")

    @classmethod
    def doc(cls) -> str:
        """The class's docstring, without indentation."""
        return inspect.cleandoc(cls.__doc__ or "")

    # -- what a node may do ---------------------------------------------------------------------------------------

    async def send(
        self,
        value: Any,
        *,
        port: str | None = None,
        topic: str | None = None,
        meta: dict | None = None,
        position: Any = None,
        held: bool = True,
    ) -> "Receipt":
        """Send one message; waits while a reliable consumer's window is full: back-pressure is felt here.

        Args:
            value: a payload, or a Message (what else is given here overrides the Message's).
            port: an output's name; None: the first.
            position: of a source that can replay: where to read on after this message. The engine saves the
                highest position up to which everything is acked; read it at start as `self.position`.
            held: the message that is being handled is acked only when this one is, too. False: it waits for nothing
                that it made here, and makes it again if it is handled again.
        Returns:
            A receipt; `await receipt` returns when every reliable consumer, and what it made of it, is done.
        Raises:
            UnknownPort: no such output.
            TypeError, ValueError: something in it has no form in which it could travel, or needs more shared memory
                than the node may have at all.
        """
        return await self.engine.send(value, port=port, topic=topic, meta=meta, position=position, held=held)

    def alloc(self, shape: Sequence[int] | int, dtype: Any = "uint8", device: str = "cpu") -> "Tensor":
        """A writable tensor in shared memory, to be filled in place and sent; nobody copies it then.

        Its content is whatever was there before. From a sync handler, which has a thread of its own, it waits while no
        slot is free; in async code it does not: use `alloc_when_free` there.

        Args:
            shape: (H, W, 3), for example; a number is one dimension.
            dtype: "uint8", "float32" ..., or a numpy dtype.
            device: "cpu", or "cuda", "cuda:1" for an NVIDIA GPU, to be filled through `tensor.cupy()`. Where processes
                cannot share its memory the tensor is in host memory; `tensor.device` says so, and the log why.
        Raises:
            NoRoom: in async code, when no slot is free now.
            ValueError: larger than the node's setting `pool_mb` allows.
        """
        return self.engine.tensors.alloc(shape, dtype, device)

    async def alloc_when_free(self, shape: Sequence[int] | int, dtype: Any = "uint8", device: str = "cpu") -> "Tensor":
        """As `alloc`, in async code: waits until a slot is free. Back-pressure of consumers is felt here, too."""
        return await self.engine.tensors.alloc_when_free(shape, dtype, device)

    @property
    def position(self) -> Any:
        """The saved position of a source: everything up to it was acked; None at the first start."""
        return self.engine.position

    @property
    def embedded_mqtt(self) -> dict[str, Any] | None:
        """Host, port, tls, user, password of the embedded MQTT listener: with `mqtt_subscribe` or `mqtt_publish`."""
        return self.engine.extras.get("embedded_mqtt")

    @property
    def data_folder(self) -> Path:
        """A folder of its own in the runtime's data folder, for files that outlive the process; made when asked for.

        Only from `on_go` on: before, the process that this one replaces may still be at work there.

        Raises:
            RuntimeError: the node runs without one, as in `drive` when none was given (`extras={"data_folder": ..}`).
        """
        folder = self.engine.extras.get("data_folder")
        if folder is None:
            raise RuntimeError(f"{self.type} keeps files, and runs without a data folder")
        path = Path(folder)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def setting(self, name: str, message: Message | None = None) -> Any:
        """The value of a dynamic config field for this message.

        Raises:
            LookupError: the reference leads nowhere (no such part of the message, no such variable).
        """
        return self.engine.references.value(name, message)

    def after(self, seconds: float, function: Callable[..., Any], *args: Any) -> "Timer":
        """Run `function(*args)` once, as a handler: never beside another, may return outputs and change state."""
        return self.engine.timer(seconds, None, function, args)

    def every(self, seconds: float, function: Callable[..., Any], *args: Any) -> "Timer":
        """Run `function(*args)` again and again, as a handler; the first time after `seconds`."""
        return self.engine.timer(seconds, seconds, function, args)

    def spawn(self, coroutine: Coroutine) -> asyncio.Task:
        """Run a coroutine beside the handlers until the node stops; its exception is reported as the node's.

        Only from async code and `on_start`.
        """
        return self.engine.spawn(coroutine)

    def within(self, seconds: float | None) -> Any:
        """`async with self.within(30) as limit:` a time-out by the node's clock, where a handler waits for others.

        Raises TimeoutError in the block; `limit.expired()` says whether it was this one. In a flow test the node counts
        as at rest inside.
        """
        return self.engine.clock.within(seconds)

    def now_s(self) -> float:
        """Seconds since 1970, by the node's clock (a test can move it)."""
        return self.engine.now_s()

    def set_status(self, text: str, kind: str = "ok") -> None:
        """Show a badge on the node: kind is ok, busy, warn, error or off. Callable from any thread."""
        self.engine.set_status(text, kind)

    def debug(self, value: Any, message: Message | None = None) -> None:
        """Show a value in the debug panel (`flow.<flow>.<node>.debug`), cut to 8 KB. Callable from any thread."""
        self.engine.debug(value, message)

    def report(self, error: BaseException, message: Message | None = None) -> None:
        """Publish an error as a failed handler would, without raising: the message counts as handled."""
        self.engine.failures.report(error, message)


def clock_s() -> float:
    """The real clock of a node that runs."""
    return time.time()
