import io

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field, formats
from flowcore_nodes.core.addressed import addressed
from flowcore_nodes.core.patience import Patience, Refused
from flowcore_nodes.core.s3 import INSTALL, S3Server, client_of, in_thread


class S3Put(Node):
    """Store messages as objects in a bucket of S3, MinIO or what else speaks S3.

    A message is done when the server has stored it. While the server is away, full, or does not let us in messages wait
    in order; what it refuses is an error. After a crash an object may be stored twice, under the same key.
    """

    type = "core/s3-put"
    title = "S3 put"
    category = "storage"
    icon = "cloud-upload"
    needs = ("minio",)
    install = INSTALL
    outside = True

    class Config(NodeConfig):
        server: S3Server = field(S3Server(), description='The server, or {"$use": "name"} of a resource core/s3-server')
        bucket: str = field(..., min_length=3, max_length=63, description="The bucket")
        key: str = field("", dynamic=True, description="Key of the object, such as line1/7.jpg; empty: the topic")
        format: formats.Format = field("auto", description="auto: bytes and text as they are, all else as JSON")
        content_type: str = field("", description="Such as image/jpeg; empty: meta.content_type, else by the payload")
        create: bool = field(False, description="Make the bucket where there is none")
        max_bytes: int = field(64 << 20, ge=1, le=1 << 30, description="Largest object, in bytes")

    in_ = In(description="the content of the object")
    out = Out(description="the message, when it is stored; meta.s3 has bucket, key, size (bytes) and etag")

    async def on_start(self) -> None:
        self._client = client_of(self.config.server)
        self._patience = Patience(self, f"{self.config.server} {self.config.bucket}")

    async def on_message(self, message: Message) -> Message:
        config, payload = self.config, message.payload
        try:
            key = addressed(self, "key", message)
            if len(key.encode()) > 1024:
                raise ValueError("a key has at most 1024 bytes")
            content = formats.write(payload, config.format)
            if len(content) > config.max_bytes:
                raise ValueError(f"it has {len(content)} bytes, max_bytes is {config.max_bytes}")
            kind = config.content_type or message.meta.get("content_type") or _kind_of(payload)
            stored = await self._patience.until_done(lambda: in_thread(lambda: self._put(key, content, str(kind))))
        except (LookupError, ValueError) as e:  # Refused among them
            raise GiveUp(f"{config.bucket}: {e}") from None
        about = {"bucket": config.bucket, "key": key, "size": len(content), "etag": stored}
        return message.derive(payload, meta=message.meta | {"s3": about})

    def _put(self, key: str, content: bytes, kind: str) -> str:
        from minio.error import S3Error

        bucket = self.config.bucket
        try:
            return str(self._client.put_object(bucket, key, io.BytesIO(content), len(content), kind).etag)
        except S3Error as e:
            if e.code != "NoSuchBucket" or not self.config.create:
                raise
        except ValueError as e:  # a name that no bucket and no object can have
            raise Refused(str(e)) from None
        self._client.make_bucket(bucket)
        return str(self._client.put_object(bucket, key, io.BytesIO(content), len(content), kind).etag)


def _kind_of(payload: object) -> str:
    if isinstance(payload, (bytes, bytearray)):
        return "application/octet-stream"
    return "text/plain; charset=utf-8" if isinstance(payload, str) else "application/json"
