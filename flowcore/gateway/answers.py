"""Answers and errors in the one form that the control services have, with the HTTP status that fits."""

import json
from typing import Any

from aiohttp import web

from flowcore.client import CallFailed

STATUS = {
    "invalid_request": 400,
    "invalid_flow": 422,
    "stale": 409,
    "unknown_flow": 404,
    "unknown_node": 404,
    "unknown": 404,
    "refused": 409,
    "timeout": 504,
    "failed": 500,
}
"""HTTP status of each error code of the control services."""


_WORTH_COMPRESSING = 32 << 10


def ok(body: Any, status: int = 200) -> web.Response:
    """A JSON answer that nobody keeps; compressed where it is large and the browser takes that."""
    answer = web.Response(
        text=json.dumps(body), status=status, content_type="application/json", headers={"Cache-Control": "no-store"}
    )
    if answer.content_length and answer.content_length > _WORTH_COMPRESSING:
        answer.enable_compression()
    return answer


def refusal(status: int, code: str, message: str, do: str, **more: Any) -> web.Response:
    """An error: what is wrong and what to do."""
    return ok({"error": {"code": code, "message": message, "where": "", "do": do, "details": more}}, status)


def failure(error: CallFailed) -> web.Response:
    """What a control service said no with."""
    body = {
        "code": error.code,
        "message": error.message,
        "where": error.where,
        "do": error.do,
        "details": error.details,
    }
    return ok({"error": body}, STATUS.get(error.code, 500))
