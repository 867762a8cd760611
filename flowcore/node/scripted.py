"""A locked-in script whose messages may hold tensors: it gets stand-ins, and what it passes on is the tensor again."""

import secrets
from collections.abc import Sequence
from typing import Any

from flowcore.buffers import Codec, Tensor
from flowcore.buffers.spilled import leaves, parts, replaced
from flowcore.script.client import Item, ScriptWorker
from flowcore.script.errors import ScriptError
from flowcore.script.results import Result
from flowcore.script.stand_in import StandIn


class TensorScript(ScriptWorker):
    """A script of a node; see `ScriptWorker`.

    Args:
        codec: of the process: until it has decoded a tensor, no message is looked through for one.
    """

    def __init__(self, *args: Any, codec: Codec, **options: Any) -> None:
        super().__init__(*args, **options)
        self._codec = codec

    async def call(self, messages: Sequence[Item]) -> list[Result]:
        """Run messages; see `ScriptWorker.call`."""
        if not self._codec.seen or not parts(list(filter(None, messages))):
            return await super().call(messages)
        given = _Given()
        shown = [message and given.stand_ins(message) for message in messages]
        results = await super().call(shown)
        for result in results:
            try:
                result.outputs = [
                    [port, given.tensors(payload), topic, given.tensors(meta)]
                    for port, payload, topic, meta in result.outputs
                ]
                result.notes = [(kind, text, given.tensors(extra)) for kind, text, extra in result.notes]
                _refuse_in_context(result.changes)
            except ValueError as e:
                result.outputs, result.changes = [], {}
                result.error = ScriptError(str(e), type="ValueError")
        return results


class _Given:
    """The tensors of one call, by what the script knows them by."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(8)  # one that was kept from another call is none of these
        self._tensors: dict[bytes, Tensor] = {}

    def stand_ins(self, value: Any) -> Any:
        """A copy of a value with a stand-in for each tensor."""
        return replaced(value, self._stand_in, makes_copy=True)

    def _stand_in(self, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        token = self._secret + len(self._tensors).to_bytes(4, "big")
        self._tensors[token] = leaf
        return StandIn(token, leaf.shape, leaf.dtype, leaf.device, leaf.nbytes)

    def tensors(self, value: Any) -> Any:
        """A value from the script with its tensors again.

        Raises:
            ValueError: a stand-in that was not given out for this call.
        """
        return replaced(value, self._tensor)

    def _tensor(self, leaf: Any) -> Any:
        if not isinstance(leaf, StandIn):
            return leaf
        found = self._tensors.get(leaf.token)
        if found is None:
            raise ValueError("the script sent a tensor that did not come with its message")
        return found


def _refuse_in_context(changes: Any) -> None:
    if any(isinstance(leaf, StandIn) for leaf in leaves(changes)):
        raise ValueError("a tensor can't be kept in context: what a script sees of it ends with its message")
