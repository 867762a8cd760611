"""Rights on the bus of a flow that is removed and comes back at once."""

import asyncio

from flowcore.bus.access import AccessStore
from flowcore.bus.server import EmbeddedServer
from flowcore.runtime.busrights import BusRights
from flowcore.runtime.processplan import ProcessPlan


async def test_what_is_granted_again_is_not_taken_away_by_what_went_before(tmp_path):
    """The end of the old deploy wants rights revoked; the new one has been given them meanwhile."""
    rights = BusRights(AccessStore(tmp_path))
    server = EmbeddedServer(tmp_path, nats_port=0, mqtt_port=0)
    await server.start(rights.everyone())
    try:
        rights.use(server)
        plans = {"hot": ProcessPlan("line", "hot", "hot", "core/debug", "m", "q")}
        await rights.grant("line", plans)
        rights.revoke_later("line", {}, 0.05)
        await rights.grant("line", plans)
        await asyncio.sleep(0.2)  # past the time at which the first would have been taken away
        assert rights.user("line", "hot")
        rights.revoke_later("line", {}, 0.0)
        async with asyncio.timeout(10):
            while rights._nodes:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
    finally:
        rights.close()
        await server.stop()
