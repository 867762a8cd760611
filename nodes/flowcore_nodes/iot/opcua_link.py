"""A session with an OPC UA server: as whom it is opened, how safely, and when it is over.

    Refused   the server answers, and does not want us, or has no such value; the text says what it said

What fails here is of the kinds that `Again` tries again: a password may be set right, a certificate trusted later.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from asyncua import Client, ua
from asyncua.common.utils import ServiceError
from asyncua.crypto import security_policies, uacrypto
from cryptography import x509

from flowcore_nodes.iot.opcua import Server, Value, split

_CLOSE_S = 1.0
_MODES = {"sign": ua.MessageSecurityMode.Sign, "sign_and_encrypt": ua.MessageSecurityMode.SignAndEncrypt}


class Refused(ConnectionError):
    """See above."""


class Link:
    """An open session.

    Attributes:
        client: asyncua's.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._namespaces: list[str] = []
        client.connection_lost_callback = self._on_lost

    async def _on_lost(self, error: Exception) -> None:
        self.end(ConnectionError(str(error) or "the server does not answer"))

    def end(self, error: Exception) -> None:
        """The session is of no more use."""
        if not self._lost.done():
            self._lost.set_result(error)

    async def until_lost(self) -> None:
        """Wait for its end, and raise why."""
        raise await asyncio.shield(self._lost)

    async def node_ids(self, values: Sequence[Value]) -> dict[str, ua.NodeId]:
        """Names of values -> their ids on this server; those whose namespace it does not have are left out."""
        found = {value.name: await self.node_id(value.node) for value in values}
        return {name: one for name, one in found.items() if one is not None}

    async def node_id(self, text: str) -> ua.NodeId | None:
        """The id on this server; None when it does not have the namespace. Raises ValueError when it is none."""
        namespace, identifier = split(text)
        if isinstance(namespace, str):
            known = await self.namespaces()
            if namespace not in known:
                return None
            namespace = known.index(namespace)
        return node_id(identifier, namespace)

    async def namespaces(self) -> list[str]:
        """The URIs, by number."""
        if not self._namespaces:
            with told():
                self._namespaces = await self.client.get_namespace_array()
        return self._namespaces

    async def read(
        self, ids: Sequence[ua.NodeId], attribute: ua.AttributeIds = ua.AttributeIds.Value
    ) -> list[ua.DataValue]:
        """One attribute of each, in one request."""
        with told():
            return await self.client.uaclient.read_attributes(list(ids), attribute)

    async def write(self, ids: Sequence[ua.NodeId], values: Sequence[ua.Variant]) -> list[ua.StatusCode]:
        """Write in one request; returns what the server says to each."""
        with told():  # no times: many servers take none from a client
            return await self.client.uaclient.write_attributes(list(ids), [ua.DataValue(one) for one in values])


def node_id(identifier: Any, namespace: Any = 0) -> ua.NodeId:
    """A node id of plain values: int, str, bytes, UUID."""
    return ua.NodeId(identifier, namespace)


def written(node: ua.NodeId, namespaces: Sequence[str]) -> str:
    """A node id as a config has it: with the namespace's URI, which a server keeps when it counts them anew."""
    index = node.NamespaceIndex
    text = node_id(node.Identifier).to_string()
    uri = namespaces[index] if index < len(namespaces) else ""
    if index == 0:
        return text
    return f"nsu={uri};{text}" if uri and ";" not in uri and namespaces.index(uri) == index else f"ns={index};{text}"


def said(code: ua.StatusCode | int) -> str:
    """A status for people."""
    name, about = ua.status_codes.get_name_and_doc(code if isinstance(code, int) else code.value)
    return f"{name}: {about}"


@contextlib.contextmanager
def told() -> Iterator[None]:
    """What the server says to a request becomes a Refused."""
    try:
        yield
    except (ua.UaStatusCodeError, ServiceError) as e:
        raise Refused(said(e.code)) from None
    except ua.UaError as e:
        raise Refused(str(e) or type(e).__name__) from None


@contextlib.asynccontextmanager
async def opened(server: Server, kept_in: Path | None = None, keep_s: float = 60.0) -> AsyncIterator[Link]:
    """A session, closed at the end.

    Args:
        kept_in: a file with which it can be taken up again later; then it is not closed, only left.
        keep_s: for how long the server should keep it.

    Raises:
        Refused, OSError, TimeoutError: there is none; a certificate or a key can't be read.
    """
    client = Client(server.url, timeout=server.timeout_s, watchdog_intervall=max(1.0, server.timeout_s / 2))
    client.name = client.description = "flowcore"
    if server.user:
        client.set_user(server.user)
        client.set_password(server.password)
    client.session_state_path, client.session_timeout = kept_in, round(keep_s * 1000)
    link = Link(client)
    try:
        with told():
            if server.security != "none":
                await _secure(client, server)
            await client.connect()
        yield link
    finally:
        link.end(ConnectionError("closed"))
        protocol = client.uaclient.protocol
        if kept_in is not None and protocol is not None and protocol.transport is not None:
            protocol.transport.abort()  # or asyncua would close the session, now or when the server listens again
            await asyncio.sleep(0)  # it hears that
        with contextlib.suppress(Exception):
            await asyncio.wait_for(client.close_session() if kept_in else client.disconnect(), _CLOSE_S)
        client.disconnect_socket()


async def _secure(client: Client, server: Server) -> None:
    ours = await _file("certificate", server.certificate)
    key = await _file("key", server.key, server.key_password or None)
    theirs = await _file("server_certificate", server.server_certificate) if server.server_certificate else None
    certificate = await uacrypto.load_certificate(ours.path_or_content, ours.extension)
    # The server compares what we call ourselves with what the certificate says.
    with contextlib.suppress(x509.ExtensionNotFound):
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        client.application_uri = next(iter(uris), client.application_uri)
    policy = getattr(security_policies, f"SecurityPolicy{server.policy}")
    await client.set_security(policy, ours, key, key.password, theirs, _MODES[server.security])


async def _file(name: str, path: str, password: str | None = None) -> uacrypto.CertProperties:
    """A file's content, and whether it is PEM or DER, whatever it is called. Raises Refused when it is not right."""
    try:
        content = await asyncio.to_thread(Path(path).read_bytes)
        made = uacrypto.CertProperties(content, "pem" if b"-----BEGIN" in content else "der", password)
        if name == "key":
            await uacrypto.load_private_key(content, password, made.extension)
        else:
            await uacrypto.load_certificate(content, made.extension)
    except (OSError, ValueError, TypeError) as e:
        raise Refused(f"{name} {path!r}: {getattr(e, 'strerror', None) or e}") from None
    return made
