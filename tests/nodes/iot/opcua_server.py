"""An OPC UA server as a process: `python opcua_server.py PORT [FOLDER]`. asyncua's own, not ours.

With a folder it has a certificate (server.der, server.key there) and takes secured connections alone; user `plant` has
the password `secret`. `counter` counts by itself; what else changes, a client writes. At SIGUSR1 it forgets what it
has sent and nobody has confirmed, as a server does whose memory for that is full.
"""

import asyncio
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from asyncua import Server, ua
from asyncua.crypto.permission_rules import User, UserRole

URI = "http://plant.example/line"


class Users:
    """Who may."""

    def get_user(self, iserver, username=None, password=None, certificate=None):
        """asyncua asks this."""
        if username is None or (username, password) == ("plant", "secret"):
            return User(UserRole.User, username)
        return None


async def main(port: int, folder: Path | None) -> None:
    """Serve until killed."""
    server = Server(user_manager=Users())
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/plant")
    policies = [ua.SecurityPolicyType.NoSecurity]
    if folder is not None:
        await server.set_application_uri("urn:plant:server")
        await server.load_certificate(folder / "server.der")
        await server.load_private_key(folder / "server.key", format="pem")
        policies = [
            ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
            ua.SecurityPolicyType.Aes256Sha256RsaPss_Sign,
        ]
    server.set_security_policy(policies)
    index = await server.register_namespace(URI)
    line = await server.nodes.objects.add_object(ua.NodeId("line", index), "Line")
    kinds = ua.VariantType
    variables = {
        "counter": ua.Variant(0, kinds.UInt32), "speed": ua.Variant(1.5, kinds.Double),
        "set": ua.Variant(20, kinds.Int16), "label": ua.Variant("Hello", kinds.String),
        "on": ua.Variant(True, kinds.Boolean), "since": ua.Variant(datetime(2026, 3, 1, tzinfo=UTC), kinds.DateTime),
        "points": ua.Variant([1.0, 2.0], kinds.Double),
        "name": ua.Variant(ua.LocalizedText("Press"), kinds.LocalizedText),
        "locked": ua.Variant(1, kinds.Int32), "broken": ua.Variant(0.0, kinds.Double),
    }  # fmt: skip
    made = {}
    for name, value in variables.items():
        made[name] = await line.add_variable(ua.NodeId(name, index), name, value)
        if name != "locked":
            await made[name].set_writable()
    failed = ua.DataValue(variables["broken"], ua.StatusCode(ua.StatusCodes.BadSensorFailure))
    await server.write_attribute_value(made["broken"].nodeid, failed)

    def forget() -> None:
        for subscription in server.iserver.subscription_service.subscriptions.values():
            subscription._not_acknowledged_results.clear()

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, forget)
    async with server:
        count = 0
        while True:
            count += 1
            await made["counter"].write_value(count, kinds.UInt32)
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
