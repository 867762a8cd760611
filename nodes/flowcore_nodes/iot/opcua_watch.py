"""A subscription at an OPC UA server that outlives its connection, and the process that had it.

While the server keeps the session, a new connection takes both up again: what the server had sent into the void is
asked for once more, and what changed meanwhile follows. When the server has forgotten it, it is made anew, and that is
told. Nothing is acked, and nothing more is taken, before the flow is done with what came: meanwhile the server keeps
what changes, as much as its queue for each value holds, and says when it had to let go of something.

Invariant: notifications are handed on one after the other, in their order, whichever connection they came by.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.common.subscription import Subscription
from asyncua.common.utils import ServiceError

from flowcore_nodes.iot.opcua_link import Link, said, told

_OVERFLOW = 0x480  # in a status: it says something about the value, and it says that some before it are lost
_ALIVE_S = 1.0  # the server says at least so often that it is alive
_STALE = 4.0  # after so many times that, it is not

OnChange = Callable[[str, ua.DataValue], Awaitable[Awaitable[None]]]
"""Hands a change on; what it returns ends when the flow is done with it."""

OnMissed = Callable[[str, str, int, float], Awaitable[None]]
"""(reason, name or empty, how many notifications or 0, for how many seconds or 0)"""


class Watch(Subscription):
    """See above.

    Args:
        on_missed: awaited when something is known to be lost: "forgotten" (the server no longer had the subscription),
            "overflow" (of one value's queue), "gap" (a notification that the server no longer had).
        keep_s: how long the server should keep it while nobody is there.
        file: where it stands which subscription this is.
    """

    def __init__(
        self, publish_ms: float, sample_ms: float, queue: int, keep_s: float,
        on_change: OnChange, on_missed: OnMissed, file: Path,
    ) -> None:  # fmt: skip
        parameters = ua.CreateSubscriptionParameters()
        parameters.RequestedPublishingInterval = publish_ms
        parameters.RequestedMaxKeepAliveCount = max(1, round(_ALIVE_S * 1000 / publish_ms))
        parameters.RequestedLifetimeCount = max(
            3 * parameters.RequestedMaxKeepAliveCount, round(keep_s * 1000 / publish_ms)
        )
        parameters.MaxNotificationsPerPublish = 1000
        parameters.PublishingEnabled = True
        super().__init__(None, parameters, handler=self)  # type: ignore[arg-type]
        self._sample_ms, self._queue = sample_ms, queue
        self._on_change, self._on_missed, self._file = on_change, on_missed, file
        self._turn = asyncio.Lock()
        self._wanted: dict[str, ua.NodeId] = {}
        self._filters: dict[str, Any] = {}
        self._is_over = self._was_made_anew = False
        self._heard_s = 0.0  # when the server last told something, or that it is alive
        self.refused: dict[str, str] = {}  # name -> why it can't be watched

    async def watch(self, link: Link, ids: dict[str, ua.NodeId], filters: dict[str, Any]) -> None:
        """Watch these values over a new connection. Raises Refused, OSError, TimeoutError."""
        self.server = link.client.uaclient.session
        self._was_made_anew = self._is_over = False
        self._wanted, self._filters = ids, filters
        heard_s, before = self._heard_s, self._read()
        had = before is not None and before["what"] == self._what()
        if before is not None:
            self.subscription_id = before["subscription"]
        with told():
            await (self.restore() if had else self.recreate())
        self.server.ensure_publish_loop()
        self._file.write_text(json.dumps({"subscription": self.subscription_id, "what": self._what()}))
        if had and self._was_made_anew:
            await self._on_missed("forgotten", "", 0, time.monotonic() - heard_s if heard_s else 0.0)

    def _read(self) -> dict[str, Any] | None:
        try:
            return json.loads(self._file.read_text())
        except (OSError, ValueError):
            return None

    def _what(self) -> dict[str, Any]:
        """What a subscription must have been made for to be this one."""
        values = {name: [node_id.to_string(), str(self._filters.get(name))] for name, node_id in self._wanted.items()}
        return {"values": values, "settings": [self._sample_ms, self._queue, str(self.parameters)]}

    async def until_stale(self) -> None:
        """Wait until the server no longer says that it is alive, and raise."""
        while not self._is_over and (self._turn.locked() or not self.is_stale(_STALE)):  # noqa: ASYNC110 (time passes)
            await asyncio.sleep(_ALIVE_S / 4)
        raise ConnectionError("the server no longer serves the subscription")

    async def recreate(self) -> None:
        """Make it anew on the server."""
        if self.subscription_id is not None:
            with contextlib.suppress(ua.UaError, ServiceError):  # it is gone
                await self.server.delete_subscriptions([self.subscription_id])
        self._was_made_anew = True
        self.subscription_id, self.last_sequence_number, self.refused = None, None, {}
        self.last_publish_at = self._heard_s = time.monotonic()
        await self.init()
        requests = []
        for handle, (name, node_id) in enumerate(self._wanted.items()):
            how = ua.MonitoringParameters(handle, self._sample_ms, QueueSize=self._queue, DiscardOldest=True)
            if name in self._filters:
                how.Filter = self._filters[name]
            what = ua.ReadValueId(node_id, ua.AttributeIds.Value)
            requests.append(ua.MonitoredItemCreateRequest(what, ua.MonitoringMode.Reporting, how))
        if not requests:
            return
        made = await self.server.create_monitored_items(
            ua.CreateMonitoredItemsParameters(self.subscription_id, ua.TimestampsToReturn.Both, requests)
        )
        for name, one in zip(self._wanted, made, strict=True):
            if not one.StatusCode.is_good():
                self.refused[name] = said(one.StatusCode)

    async def _republish_gaps(self, available: Sequence[int]) -> bool:
        # asyncua 2.1 goes on asking until it hears BadMessageNotAvailable, which its own server never says.
        for number in sorted(available):
            session: Any = self.server
            message = await session.republish(self.subscription_id, number)
            await self.publish_callback(ua.PublishResult(self.subscription_id, NotificationMessage=message))
        return True

    async def publish_callback(self, result: ua.PublishResult) -> None:
        """Hand on what the server published; it is acked, and the next one asked for, when this returns."""
        self.last_publish_at = self._heard_s = time.monotonic()
        message = result.NotificationMessage
        if not message.NotificationData:
            return
        async with self._turn:
            number, last = int(message.SequenceNumber), self.last_sequence_number
            if number and last is not None:
                if number <= last:
                    return  # it came by the connection before this one
                if number > last + 1:
                    await self._on_missed("gap", "", number - last - 1, 0.0)
            for one in message.NotificationData:
                if isinstance(one, ua.DataChangeNotification):
                    await self._hand_on(one.MonitoredItems)
                elif isinstance(one, ua.StatusChangeNotification):  # with number 0 by asyncua itself: the line is cut
                    self._is_over = one.Status.is_bad()
            if number:
                self.last_sequence_number = number
            self.last_publish_at = time.monotonic()

    async def _hand_on(self, items: Sequence[ua.MonitoredItemNotification]) -> None:
        names, receipts = list(self._wanted), []
        for item in items:
            if item.ClientHandle >= len(names):
                continue
            name = names[item.ClientHandle]
            if item.Value.StatusCode is not None and item.Value.StatusCode.value & _OVERFLOW == _OVERFLOW:
                await self._on_missed("overflow", name, 0, 0.0)
            receipts.append(await self._on_change(name, item.Value))
        for receipt in receipts:
            await receipt
