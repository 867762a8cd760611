"""How a peer of a test is told what to do: each request is a pickled tuple of a command's name and its arguments, each
answer a pickled (result, error)."""

import pickle
import sys
from typing import Any


def answer_all(peer: Any) -> None:
    """Call its methods until the other side closes."""
    while True:
        try:
            command, *arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = getattr(peer, command)(*arguments), None
        except Exception as e:
            answer = None, f"{type(e).__name__}: {e}"
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()
