from typing import Any, Literal

from pydantic import model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore.node.paths import MessagePath, PathError
from flowcore_nodes.core.path_fields import WritePath
from flowcore_nodes.core.xml_text import BadXml, Form, Reader, write


class Xml(Node):
    """Turn XML text into a map, or a map into XML text.

    An element is a map of its children, each a list; attributes are in `$` and text beside them in `_`; an element with
    nothing but text is that text. Names keep their prefixes. A document that declares entities is refused: those can
    grow without end, or read files. Comments, processing instructions and the order among different children are lost.
    """

    type = "core/xml"
    title = "XML"
    category = "parser"
    icon = "code-xml"

    class Config(NodeConfig):
        path: WritePath = field("payload", description="What is converted: payload, payload.body ...")
        attribute_key: str = field("$", min_length=1, description="Key of the attributes in an element's map")
        text_key: str = field("_", min_length=1, description="Key of the text in an element's map")
        always_lists: bool = field(
            True, description="Each child is a list, also where there is one; off: only repeated"
        )
        keep_root: bool = field(
            True, description="The root element is the map's one key; off: its content is the result"
        )
        attributes: Literal["keep", "merge", "ignore"] = field(
            "keep", description="Attributes are a map of their own, keys beside the children, or left out"
        )
        trim: bool = field(False, description="Without the blanks around each text")
        root: str = field("root", min_length=1, description="To XML: root of a map that has not exactly one key")
        indent: int = field(0, ge=0, le=8, description="To XML: blanks a level; 0: all on one line")
        declaration: bool = field(True, description="To XML: begin with <?xml ...?>")
        max_bytes: int = field(1_048_576, gt=0, le=67_108_864, description="Longest text that is read, in bytes")
        max_depth: int = field(64, gt=0, le=200, description="Deepest nesting of elements")

        @model_validator(mode="after")
        def _keys_differ(self) -> "Xml.Config":
            if self.attribute_key == self.text_key:
                raise ValueError(f"attribute_key and text_key are both {self.text_key!r}")
            return self

    in_ = In()
    out = Out()

    def on_start(self) -> None:
        config = self.config
        self._path = MessagePath(config.path)
        self._form = Form(
            config.attribute_key,
            config.text_key,
            config.always_lists,
            config.keep_root,
            config.attributes,
            config.trim,
            config.max_depth,
        )

    def on_reconfigure(self, old: Any) -> None:
        self.on_start()

    def on_message(self, message: Message) -> Message:
        try:
            value = self._path.get(message)
        except PathError:
            return message
        made = message.derive()
        try:
            self._path.set(made, self._read(value) if isinstance(value, (str, bytes)) else self._write(value))
        except BadXml as e:
            raise GiveUp(f"not XML: {e}") from None
        return made

    def _read(self, text: str | bytes) -> Any:
        if len(text) > self.config.max_bytes:
            raise GiveUp(f"the text has {len(text)} bytes, more than max_bytes = {self.config.max_bytes}")
        return Reader(self._form).read(text)

    def _write(self, value: Any) -> str:
        if not isinstance(value, dict):
            raise GiveUp(f"{self.config.path} must be XML text or a map, got {type(value).__name__}")
        try:
            return write(value, self._form, self.config.root, self.config.indent, self.config.declaration)
        except BadXml as e:
            raise GiveUp(f"can't be written as XML: {e}") from None
