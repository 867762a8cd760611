import asyncio

from flowcore.node import Node, NodeConfig, Out, field
from flowcore.node.formats import Format, read
from flowcore_nodes.core.again import Again
from flowcore_nodes.iot.udp import open_socket


class UdpIn(Node):
    """Receive datagrams by UDP, also those of a multicast group.

    UDP promises nothing: what comes faster than the flow takes it waits, up to `max_waiting`; then the newest is
    dropped and counted in the badge.
    """

    type = "iot/udp-in"
    title = "UDP in"
    category = "network"
    icon = "antenna"

    class Config(NodeConfig):
        port: int = field(..., ge=1, le=65535, description="UDP port to listen on")
        address: str = field("127.0.0.1", description="Address to listen on; 0.0.0.0: all, needed for broadcasts")
        group: str = field("", description="Multicast group to join, such as 239.1.2.3; empty: none")
        interface: str = field("", description="Address of the interface for the group; empty: the system's choice")
        format: Format = field("auto", description="What a datagram is; auto: JSON, else text, else bytes")
        max_waiting: int = field(1000, ge=1, le=100_000, description="Most datagrams that wait for the flow")

    out = Out(description="a datagram; the topic is the sender's address, meta.udp has host and port")

    async def run(self) -> None:
        config = self.config
        link = Again(self, f"udp://{config.group or config.address}:{config.port}")

        async def listen() -> None:
            local = (config.group or config.address, config.port)
            transport, datagrams = await open_socket(
                config.max_waiting, local=local, group=config.group, interface=config.interface
            )
            try:
                link.up(f"listening: {link.where}")
                dropped = 0
                while True:
                    data, (host, port, *_) = await datagrams.waiting.get()
                    try:
                        payload = read(data, config.format)
                        await self.send(payload, topic=f"{host}:{port}", meta={"udp": {"host": host, "port": port}})
                    except (TypeError, ValueError) as e:
                        self.report(ValueError(f"{host}:{port}: {e}"))
                    if datagrams.dropped >= max(1, dropped * 2):  # at 1, 2, 4, 8 ...
                        dropped = datagrams.dropped
                        self.set_status(f"{dropped} dropped: the flow takes less than comes", "warn")
            finally:
                transport.close()
                await asyncio.sleep(0)

        await link.run(listen)
