"""An OPC UA server as a process: `python opcua_server.py PORT [FOLDER]`. asyncua's own, not ours.

With a folder it has a certificate (server.der, server.key there) and takes secured connections alone; user `plant` has
the password `secret`. `counter` counts by itself; what else changes, a client writes. At SIGUSR1 it forgets what it
has sent and nobody has confirmed, as a server does whose memory for that is full.

It takes few things at once, as a small PLC does: so many nodes to browse, attributes to read, references of a node, and
continuation points in a session, all of which asyncua leaves out.
"""

import asyncio
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from asyncua import Server, ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server import binary_server_asyncio
from asyncua.server.uaprocessor import UaProcessor
from asyncua.ua.ua_binary import struct_from_binary

URI = "http://plant.example/line"
BROWSED, READ, REFERENCES, POINTS = 3, 20, 4, 2  # at most
NAMED = {
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse: BROWSED,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead: 0,  # it has a limit and does not say so
}


class Users:
    """Who may."""

    def get_user(self, iserver, username=None, password=None, certificate=None):
        """asyncua asks this."""
        if username is None or (username, password) == ("plant", "secret"):
            return User(UserRole.User, username)
        return None


class Small(UaProcessor):
    """Keeps to the limits."""

    async def _process_message(self, typeid, requesthdr, seqhdr, body):
        if self.session is None or not self.session.is_activated():
            return await super()._process_message(typeid, requesthdr, seqhdr, body)
        rest = self.session.__dict__.setdefault("rest", {})  # continuation point -> references
        if typeid == ua.NodeId(ua.ObjectIds.ReadRequest_Encoding_DefaultBinary):
            asked = struct_from_binary(ua.ReadParameters, body)
            if len(asked.NodesToRead) > READ:
                raise ServiceError(ua.StatusCodes.BadTooManyOperations)
            return self._answer(ua.ReadResponse(Results=await self.session.read(asked)), requesthdr, seqhdr)
        if typeid == ua.NodeId(ua.ObjectIds.BrowseRequest_Encoding_DefaultBinary):
            asked = struct_from_binary(ua.BrowseParameters, body)
            if len(asked.NodesToBrowse) > BROWSED:
                raise ServiceError(ua.StatusCodes.BadTooManyOperations)
            found = await self.session.browse(asked)
            answers = [one if one.StatusCode.is_bad() else part(rest, one.References) for one in found]
            return self._answer(ua.BrowseResponse(Results=answers), requesthdr, seqhdr)
        if typeid == ua.NodeId(ua.ObjectIds.BrowseNextRequest_Encoding_DefaultBinary):
            asked = struct_from_binary(ua.BrowseNextParameters, body)
            left = [rest.pop(point) for point in asked.ContinuationPoints]
            answers = [] if asked.ReleaseContinuationPoints else [part(rest, one) for one in left]
            return self._answer(ua.BrowseNextResponse(Parameters=ua.BrowseNextResult(answers)), requesthdr, seqhdr)
        return await super()._process_message(typeid, requesthdr, seqhdr, body)

    def _answer(self, response, requesthdr, seqhdr):
        self.send_response(requesthdr.RequestHandle, seqhdr, response)
        return True


def part(rest, references):
    """The first of them, and where it goes on."""
    made = ua.BrowseResult(References=references[:REFERENCES])
    if references[REFERENCES:]:
        if len(rest) == POINTS:
            return ua.BrowseResult(StatusCode=ua.StatusCode(ua.StatusCodes.BadNoContinuationPoints))
        made.ContinuationPoint = str(id(made)).encode()
        rest[made.ContinuationPoint] = references[REFERENCES:]
    return made


async def cell(server, index):
    """A cell with robots, for whoever looks around."""
    made = await server.nodes.objects.add_object(ua.NodeId("cell", index), "Cell")
    robots = [await made.add_object(ua.NodeId(f"cell.{name}", index), name) for name in ("Robot1", "Robot2", "Robot3")]
    state = await server.nodes.enum_data_type.add_data_type(index, "State")
    for robot in robots:
        for joint in range(1, 11):
            await robot.add_variable(index, f"Joint{joint}", 0.5 * joint)
        await robot.add_reference(made, ua.ObjectIds.Organizes, bidirectional=False)  # a cycle
    await robots[1].add_reference(robots[0], ua.ObjectIds.Organizes, bidirectional=False)  # a second way to it
    await robots[0].add_method(ua.NodeId("reset", index), "Reset", lambda parent: [], [], [])
    run = await robots[1].add_variable(ua.NodeId("run;1", index), "Run", 1, ua.VariantType.Int32, datatype=state.nodeid)
    hidden = await robots[2].add_variable(ua.NodeId(b"\xd3\x1d", index), "Hidden", 1)
    names = ua.AttributeIds
    for node, name, value in (
        (run, names.DisplayName, ua.Variant(ua.LocalizedText("Running?"))),
        (run, names.Description, ua.Variant(ua.LocalizedText("0 idle, 1 runs"))),
        (hidden, names.Description, ua.Variant(ua.LocalizedText("W\udce4rme"))),  # Latin-1 on the wire
        (hidden, names.AccessLevel, ua.Variant(0, ua.VariantType.Byte)),
        (hidden, names.UserAccessLevel, ua.Variant(0, ua.VariantType.Byte)),
    ):
        await node.write_attribute(name, ua.DataValue(value))
    unit = ua.EUInformation(NamespaceUri="http://www.opcfoundation.org/UA/units/un/cefact", UnitId=17476)
    unit.DisplayName = ua.LocalizedText("°")
    await (await robots[0].get_child(f"{index}:Joint1")).add_property(0, "EngineeringUnits", unit)


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

    await cell(server, index)
    for number, most in NAMED.items():
        await server.get_node(ua.NodeId(number)).write_value(most, ua.VariantType.UInt32)

    def forget() -> None:
        for subscription in server.iserver.subscription_service.subscriptions.values():
            subscription._not_acknowledged_results.clear()

    binary_server_asyncio.UaProcessor = Small
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, forget)
    async with server:
        count = 0
        while True:
            count += 1
            await made["counter"].write_value(count, kinds.UInt32)
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
