import asyncio

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore.node.formats import BadPayload, Format, read
from flowcore_nodes.iot.udp import open_socket
from flowcore_nodes.iot.udp_out import content_of, peer_of


class UdpRequest(Node):
    """Ask by UDP: send each message as a datagram, and send on what the peer answers.

    Each question has a socket of its own, so no late answer is taken for another's. It is sent again, up to `tries`
    times in all; then it is an error.
    """

    type = "iot/udp-request"
    title = "UDP request"
    category = "network"
    icon = "message-circle-question"
    outside = True

    class Config(NodeConfig):
        host: str = field("127.0.0.1", dynamic=True, description="IPv4 address of the peer")
        port: int = field(..., ge=1, le=65535, dynamic=True, description="UDP port of the peer")
        timeout_s: float = field(1.0, gt=0, le=300, description="Wait for an answer to each try, in seconds")
        tries: int = field(3, ge=1, le=100, description="How often a question is sent before it is an error")
        format: Format = field("auto", description="auto: bytes and text as they are, all else as JSON")
        answer_format: Format = field("auto", description="What the bytes of an answer are")

    in_ = In(description="the payload is the question")
    out = Out(description="the payload is the answer")

    async def on_message(self, message: Message) -> Message:
        content, peer = content_of(message, self.config.format), peer_of(self, message)
        transport, datagrams = await open_socket(16)
        try:
            for _ in range(self.config.tries):
                transport.sendto(content, peer)
                try:
                    async with asyncio.timeout(self.config.timeout_s):
                        while True:
                            answer, sender = await datagrams.waiting.get()
                            if sender[:2] == peer:  # anybody could send one to our port
                                break
                except TimeoutError:
                    continue
                return message.derive(read(answer, self.config.answer_format))
        except BadPayload as e:
            raise GiveUp(f"the answer of {peer[0]}:{peer[1]} is {e}") from None
        finally:
            transport.close()
        raise TimeoutError(f"udp://{peer[0]}:{peer[1]}: no answer to {self.config.tries} tries")
