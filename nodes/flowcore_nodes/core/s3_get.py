from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field, formats
from flowcore_nodes.core.addressed import addressed
from flowcore_nodes.core.patience import Patience, Refused
from flowcore_nodes.core.s3 import INSTALL, S3Server, client_of, in_thread


class S3Get(Node):
    """Fetch an object from a bucket of S3, MinIO or what else speaks S3, for each message.

    While the server is away, or does not let us in, messages wait in order. An object that is not there is an error.
    """

    type = "core/s3-get"
    title = "S3 get"
    category = "storage"
    icon = "cloud-download"
    needs = ("minio",)
    install = INSTALL
    outside = True

    class Config(NodeConfig):
        server: S3Server = field(S3Server(), description='The server, or {"$use": "name"} of a resource core/s3-server')
        bucket: str = field(..., min_length=3, max_length=63, description="The bucket")
        key: str = field("", dynamic=True, description="Key of the object; empty: the message's topic")
        format: formats.Format = field("auto", description="What the bytes are; auto: JSON, else text, else bytes")
        max_bytes: int = field(64 << 20, ge=1, le=1 << 30, description="Largest object, in bytes")

    in_ = In(description="asks for an object")
    out = Out(description="the object; meta.s3 has bucket, key, size (bytes) and etag, meta.content_type what it is")

    async def on_start(self) -> None:
        self._client = client_of(self.config.server)
        self._patience = Patience(self, f"{self.config.server} {self.config.bucket}")

    async def on_message(self, message: Message) -> Message:
        config = self.config
        try:
            key = addressed(self, "key", message)
            content, headers = await self._patience.until_done(lambda: in_thread(lambda: self._get(key)))
            payload = formats.read(content, config.format)
        except (LookupError, ValueError) as e:  # Refused among them
            raise GiveUp(f"{config.bucket}: {e}") from None
        about = {"bucket": config.bucket, "key": key, "size": len(content), "etag": headers["etag"]}
        return message.derive(payload, meta=message.meta | {"s3": about, "content_type": headers["kind"]})

    def _get(self, key: str) -> tuple[bytes, dict[str, str]]:
        try:
            answer = self._client.get_object(self.config.bucket, key)
        except ValueError as e:  # a name that no bucket and no object can have
            raise Refused(str(e)) from None
        try:
            most = self.config.max_bytes
            content = answer.read(most + 1)
            if len(content) > most:
                raise Refused(f"{key} has more than {most} bytes (max_bytes)")
            headers = answer.headers
            return content, {"etag": headers.get("etag", "").strip('"'), "kind": headers.get("content-type", "")}
        finally:
            answer.close()
            answer.release_conn()
