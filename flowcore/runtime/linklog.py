"""What a node logs goes over the link to its host, which writes it down; never more than the host can take."""

import asyncio
import contextlib
import logging
import time

from flowcore.runtime.link import Link

_LINES_PER_S, _LINES_BURST = 200, 1000


def log_to(link: Link) -> None:
    """Send all records of this process, from "info" on; on its event loop."""
    root = logging.getLogger()
    root.handlers[:] = [_Handler(link, asyncio.get_running_loop())]
    root.setLevel(logging.INFO)
    logging.getLogger("nats").setLevel(logging.CRITICAL)


class _Handler(logging.Handler):
    """Log records of the node go over the link; the host writes them down."""

    def __init__(self, link: Link, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._link, self._loop = link, loop
        self._allowance, self._at_s, self._dropped = float(_LINES_BURST), time.monotonic(), 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)[:8192]
        except Exception:  # `log.info("%d", "x")` must not fail the handler that says it
            self.handleError(record)
            return
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._send, record.levelname.lower(), text)

    def _send(self, level: str, text: str) -> None:
        """No more than `_LINES_PER_S`: a node that logs at each message must not fill its host's memory."""
        now_s = time.monotonic()
        self._allowance = min(_LINES_BURST, self._allowance + (now_s - self._at_s) * _LINES_PER_S)
        self._at_s = now_s
        if self._allowance < 1:
            self._dropped += 1
            return
        self._allowance -= 1
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._link.send("log", level="warning", text=f"[{dropped} lines were dropped: more than {_LINES_PER_S}/s]")
        self._link.send("log", level=level, text=text)
