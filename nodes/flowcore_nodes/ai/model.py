import contextlib
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Outputs, field
from flowcore.node.policies import Breaker, BreakerOpen
from flowcore_nodes.ai.batching import Answer, Batcher, Lane
from flowcore_nodes.ai.cuda_devices import device_count
from flowcore_nodes.ai.engines import (
    LoadedModel,
    ModelError,
    Options,
    TensorMismatch,
    TensorSpec,
    device_of,
    open_model,
)
from flowcore_nodes.ai.meter import Meter

_FREE_LENGTH = 1  # in place of a length that the model leaves free, for the warm-up


class InferenceFailed(Exception):
    """The engine could not run the model on this message."""


class Model(Node):
    """Run a neural network on each message: an ONNX file, or a torch.export program, on the processor or a GPU.

    The payload is a tensor (models with one input), or a map whose `tensor` is one, or a map of tensors by input name;
    a first length of 1 may be left out, then it is left out of the outputs, too. What else is in a map with `tensor`
    travels on beside `outputs` and `model` (name, version, latency_ms, batch). Answers leave in the order in which
    the messages came. Several models may share the process and its device: `meta.model` names the one of `more`.

    With `max_batch` messages that wait are run together. The settings `timeout_s`, `retry`, `breaker` and `deadline`
    work as for every node; with a `fallback` model the breaker counts failures of the first one, and while it is open
    the fallback answers. What neither can do is an error, for a `core/catch`. Pickles (.pt, .pkl, .joblib) are code,
    and are not loaded.
    """

    type = "ai/model"
    title = "Model"
    category = "ai"
    icon = "brain"
    needs = ("onnxruntime",)
    install = "pip install 'flowcore[ai]'"
    waits = "in_flight"

    class Config(NodeConfig):
        model: str = field(
            ..., min_length=1,
            description="File of the model (.onnx, .ort, .pt2), from where the runtime was started, or builtin:<name>",
        )  # fmt: skip
        more: dict[str, str] = field({}, description="Further models by name, which meta.model of a message chooses")
        fallback: str = field("", description="File of a model that answers while the first fails; empty: none")
        engine: Literal["auto", "onnxruntime", "torch-export", "tensorrt"] = field(
            "auto", description="What runs it; auto: by the file's name"
        )
        device: str = field("cpu", pattern=r"^(cpu|cuda(:\d{1,2})?)$", description="cpu, cuda, cuda:0, cuda:1 ..")
        affinity: str = field(
            "", description="With device = cuda and several GPUs: nodes with the same word share one; empty: the first"
        )
        tensorrt_provider: bool = field(False, description="ONNX Runtime on a GPU uses its TensorRT provider")
        half: bool = field(False, description="TensorRT: FP16 instead of FP32")
        engine_cache: str = field(
            ".flowcore/engines", min_length=1, description="Folder for engines that TensorRT has built"
        )
        workers: int = field(1, ge=1, le=64, description="Runs at the same time, each in a thread of its own")
        threads: int = field(0, ge=0, le=256, description="Processor threads of one run; 0: one a core")
        spin: bool = field(
            False, description="Threads wait busily between runs: a little quicker, at the price of whole cores"
        )
        max_batch: int = field(1, ge=1, le=1024, description="Most rows that are run together")
        max_wait_ms: float = field(
            0.0, ge=0, le=10_000, description="How long the first of a batch waits for more, in milliseconds"
        )
        tensor: str = field("tensor", min_length=1, description="Key of a map's tensor, for models with one input")
        warm_up: int = field(2, ge=0, le=100, description="Runs with zeros before the node takes over")
        sizes: dict[str, int] = field(
            {}, description="Lengths by name that the warm-up uses where the model leaves them free"
        )
        stats_s: float = field(5.0, ge=0, le=3600, description="Seconds between two messages on `stats`; 0: none")

        @model_validator(mode="after")
        def _has_sizes(self) -> "Model.Config":
            if any(one < 1 for one in self.sizes.values()):
                raise ValueError("sizes are 1 or more")
            return self

        @property
        def in_flight(self) -> int:
            """Messages that are taken and not answered: what the workers have at hand, and a batch that gathers."""
            return (self.workers + 1) * self.max_batch

    in_ = In(description="a tensor, a map with `tensor`, or a map of tensors by input name")
    out = Out(dict, "outputs by name; model: name, version, latency_ms, batch; and what came beside `tensor`")
    stats = Out(dict, "model, version, device, answers, errors, fallbacks, rate_hz, p50_ms, p95_ms, p99_ms, batch")

    async def on_start(self) -> None:
        config = self.config
        self.set_status("loading", "busy")
        self._batcher = Batcher(config.workers)
        try:
            self._lanes = {name: await self._lane(path) for name, path in {"": config.model, **config.more}.items()}
            self._fallback = await self._lane(config.fallback) if config.fallback else None
        except ModelError as e:
            self._batcher.close()
            self.set_status(str(e), "error")
            raise
        self._breaker = Breaker(self.engine.settings.get("breaker") or {})
        self._meters = {lane.model: Meter() for lane in self._all_lanes}

    @property
    def _all_lanes(self) -> list[Lane]:
        return [*self._lanes.values(), *([self._fallback] if self._fallback else [])]

    async def _lane(self, path: str) -> Lane:
        config = self.config
        options = Options(
            device=device_of(config.device, config.affinity, device_count() if config.device != "cpu" else 0),
            threads=config.threads,
            spin=config.spin,
            half=config.half,
            largest=config.max_batch,
            cache=Path(config.engine_cache),
            tensorrt=config.tensorrt_provider,
        )
        model = await self._batcher.call(open_model, path, config.engine, options)
        if config.max_batch > 1 and not model.is_batched:
            fixed = ", ".join(str(one) for one in model.inputs if not one.is_batched)
            raise ModelError(
                f"{model.name} takes no batches, the first length of its input is not free ({fixed}): export it with a "
                "dynamic first dimension, or set max_batch to 1"
            )
        await self._batcher.call(self._warm_up, model)
        return self._batcher.add(model, config.max_batch, config.max_wait_ms / 1e3)

    def _warm_up(self, model: LoadedModel) -> None:
        for rows in sorted({1, self.config.max_batch}) * bool(self.config.warm_up):
            if any(not one.is_tensor or one.shape is None for one in model.inputs):
                return
            feeds = {one.name: self._zeros(one, rows) for one in model.inputs}
            try:
                for _ in range(self.config.warm_up):
                    model.engine.run(feeds)
            except Exception as e:  # zeros need not be what it can work with
                self.log.warning("%s: no warm-up, %s; set sizes where lengths are free", model, _first_line(e))
                return

    def _zeros(self, spec: TensorSpec, rows: int) -> np.ndarray:
        shape = [one if isinstance(one, int) else self.config.sizes.get(one, _FREE_LENGTH) for one in spec.shape or ()]
        if spec.is_batched:
            shape[0] = rows
        return np.full(shape, "", object) if spec.kind == "text" else np.zeros(shape, spec.kind)

    async def on_go(self) -> None:
        self._shown = ""
        self._show_ready()
        if self.config.stats_s:
            self.every(self.config.stats_s, self._say_stats)

    async def on_stop(self) -> None:
        self._batcher.close()

    async def on_message(self, message: Message) -> Any:
        began_s = time.perf_counter()
        lane = self._lanes.get(message.meta.get("model", ""))
        if lane is None:
            raise GiveUp(
                f"no model {message.meta['model']!r} here; `more` has: {', '.join(self.config.more) or 'none'}"
            )
        meter = self._meters[lane.model]
        value, beside = self._value(message.payload)
        try:
            model, answer, is_added = await self._answer(lane, value)
        except (TensorMismatch, InferenceFailed, BreakerOpen) as e:
            meter.errors += 1
            if isinstance(e, TensorMismatch):
                raise GiveUp(str(e)) from None
            raise
        outputs = {name: _sendable(array, is_added) for name, array in answer.outputs.items()}
        latency_ms = (time.perf_counter() - began_s) * 1e3
        meter = self._meters[model]
        meter.answered(latency_ms, answer.batch)
        about = {
            "name": model.name,
            "version": model.version,
            "latency_ms": round(latency_ms, 3),
            "run_ms": round(answer.run_s * 1e3, 3),
            "batch": answer.batch,
        }
        return message.derive({**beside, "outputs": outputs, "model": about})

    def _value(self, payload: Any) -> tuple[Any, dict[str, Any]]:
        """What the model gets, and what travels on beside it."""
        if isinstance(payload, dict) and self.config.tensor in payload:
            beside = dict(payload)
            return beside.pop(self.config.tensor), beside
        return payload, {}

    async def _answer(self, lane: Lane, value: Any) -> tuple[LoadedModel, Answer, bool]:
        if self._fallback is None or lane is not self._lanes[""]:
            return await self._run(lane, value)
        try:
            self._breaker.check(self.engine.now_s())
            answered = await self._run(lane, value)
        except BreakerOpen:
            pass
        except InferenceFailed as e:
            self._breaker.failed(self.engine.now_s(), str(e))
            self._show(f"{lane.model.name} fails, {self._fallback.model.name} answers: {e}", "warn")
        except BaseException:  # time is up, or it does not fit: that says nothing of the model, but a try has ended
            if self._breaker.is_open:
                self._breaker.failed(self.engine.now_s(), "no answer")
            raise
        else:
            self._breaker.succeeded()
            self._show_ready()
            return answered
        self._meters[lane.model].fallbacks += 1
        return await self._run(self._fallback, value)

    def _show_ready(self) -> None:
        self._show(", ".join(str(lane.model) for lane in self._all_lanes), "ok")

    def _show(self, text: str, kind: str) -> None:
        if kind != self._shown:
            self._shown = kind
            self.set_status(text, kind)

    async def _run(self, lane: Lane, value: Any) -> tuple[LoadedModel, Answer, bool]:
        feeds, is_added = lane.model.fitted(value)
        try:
            return lane.model, await self._batcher.ask(lane, feeds), is_added
        except Exception as e:
            raise InferenceFailed(f"{lane.model}: {_first_line(e)}") from e

    def _say_stats(self) -> Any:
        told = []
        for lane in self._all_lanes:
            meter = self._meters[lane.model]
            if meter.is_quiet:
                continue
            model = lane.model
            told.append({"model": model.name, "version": model.version, "device": model.engine.device, **meter.read()})
        for one in told:
            yield Outputs(stats=one)


def _sendable(array: Any, is_added: bool) -> Any:
    """An output as it travels: texts as a list, what is no tensor as it is; without the first length when that came
    without."""
    with contextlib.suppress(AttributeError, TypeError, IndexError):
        if is_added and array.shape[0] == 1:
            array = array[0]
    return array.tolist() if isinstance(array, np.ndarray) and array.dtype == object else array


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:400] if lines else type(error).__name__
