"""Ending tasks that do not end at the first word."""

import asyncio

from flowcore.bus.ending import end


async def test_a_task_that_loses_a_cancellation_ends_all_the_same():
    """As nats-py's requests do when the answer comes at that moment; the time for putting in order is kept."""
    lost, order = [], []

    async def deaf():
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if len(lost) == 2:
                    raise
                lost.append(None)

    async def tidy():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            order.append("in order")

    async def failing():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("something else") from None

    tasks = [asyncio.create_task(one()) for one in (deaf, tidy, failing)]
    await asyncio.sleep(0)
    await end([*tasks, tasks[0]], again_s=0.01)
    assert [task.done() for task in tasks] == [True] * 3
    assert len(lost) == 2 and order == ["in order"]
    await end(tasks)
    await end([])
