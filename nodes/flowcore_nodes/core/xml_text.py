"""XML text to maps and back, the way xml2js maps them, and safe against hostile documents.

<pump id="7"><rpm>1450</rpm></pump>     {"pump": {"$": {"id": "7"}, "rpm": ["1450"]}}

BadXml      not XML, or XML that is not taken; `str()` says why and where
"""

import re
from dataclasses import dataclass
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape

_NAME = re.compile(r"[^\W\d][\w.\-·]*(?::[^\W\d][\w.\-·]*)?")
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_IN_ATTRIBUTES = {'"': "&quot;", "\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"}


class BadXml(ValueError):
    """Not XML, or XML that is not taken."""


@dataclass(frozen=True)
class Form:
    """How elements become maps; see the node's config."""

    attribute_key: str = "$"
    text_key: str = "_"
    always_lists: bool = True
    keep_root: bool = True
    attributes: str = "keep"  # or "merge", "ignore"
    trim: bool = False
    max_depth: int = 64


class _Element:
    __slots__ = ("children", "has_cdata", "name", "text")

    def __init__(self, name: str, children: dict[str, Any]) -> None:
        self.name, self.children = name, children
        self.text: list[str] = []
        self.has_cdata = False


class Reader:
    """Reads one document.

    Entities other than the five of XML are refused where they are declared: no document can grow, and none can reach
    a file or a server.
    """

    def __init__(self, form: Form) -> None:
        self._form = form
        self._open: list[_Element] = []
        self._result: Any = None
        self._parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartCdataSectionHandler = self._cdata
        parser.EntityDeclHandler = self._entity
        parser.SkippedEntityHandler = self._skipped
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)

    def read(self, text: str | bytes) -> Any:
        """The document as a map.

        Raises:
            BadXml: see there.
        """
        try:
            self._parser.Parse(text, True)
        except expat.ExpatError as e:
            raise BadXml(f"{expat.ErrorString(e.code)} at line {e.lineno} column {e.offset + 1}") from None
        except (LookupError, UnicodeError) as e:  # an encoding that it only claims
            raise BadXml(str(e)) from None
        return self._result

    def _entity(self, name: str, *_: Any) -> None:
        raise BadXml(f"it declares an entity, {name!r}: not taken, since entities can grow without end or read files")

    def _skipped(self, name: str, *_: Any) -> None:
        raise BadXml(f"the entity {name!r} is declared nowhere")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        form = self._form
        if len(self._open) >= form.max_depth:
            raise BadXml(f"nested deeper than max_depth = {form.max_depth}")
        children: dict[str, Any] = {}
        if attributes and form.attributes == "keep":
            children[form.attribute_key] = dict(attributes)
        elif form.attributes == "merge":
            for key, value in attributes.items():
                self._add(children, key, value)
        self._open.append(_Element(name, children))

    def _characters(self, text: str) -> None:
        self._open[-1].text.append(text)

    def _cdata(self) -> None:
        self._open[-1].has_cdata = True

    def _end(self, name: str) -> None:
        element = self._open.pop()
        text, value = "".join(element.text), element.children
        made: Any = value
        if text.strip() or element.has_cdata:
            if self._form.trim:
                text = text.strip()
            if value:
                value[self._form.text_key] = text
            else:
                made = text
        elif not value:
            made = "" if self._form.trim else text
        if self._open:
            self._add(self._open[-1].children, name, made)
        else:
            self._result = {name: made} if self._form.keep_root else made

    def _add(self, children: dict[str, Any], name: str, value: Any) -> None:
        if name not in children:
            children[name] = [value] if self._form.always_lists else value
        elif isinstance(children[name], list):
            children[name].append(value)
        else:
            children[name] = [children[name], value]


def write(value: Any, form: Form, root: str, indent: int, has_declaration: bool) -> str:
    """A map as a document; one with a single key has that as its root, any other value gets the root `root`.

    Raises:
        BadXml: a name that XML doesn't have, a character it doesn't have, nesting past `max_depth`.
    """
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) not in (form.attribute_key, form.text_key):
        ((root, value),) = value.items()
        if isinstance(value, (list, tuple)):
            if len(value) != 1:
                raise BadXml(f"a document has one root, and {root!r} is a list of {len(value)}")
            value = value[0]
    lines = ['<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'] if has_declaration else []
    _write(lines, root, value, form, indent, 0)
    return ("\n" if indent else "").join(lines)


def _write(lines: list[str], name: str, value: Any, form: Form, indent: int, depth: int) -> None:
    if depth >= form.max_depth:
        raise BadXml(f"nested deeper than max_depth = {form.max_depth}")
    pad = " " * (indent * depth)
    opening = f"{pad}<{_checked(name)}"
    if not isinstance(value, dict):
        text = _text(value)
        lines.append(f"{opening}>{text}</{name}>" if text else f"{opening}/>")
        return
    attributes = value.get(form.attribute_key)
    if isinstance(attributes, dict):
        for key, one in attributes.items():
            opening += f' {_checked(key)}="{escape(_plain(one), _IN_ATTRIBUTES)}"'
    text = _text(value.get(form.text_key))
    children = [key for key in value if key not in (form.attribute_key, form.text_key)]
    if not children:
        lines.append(f"{opening}>{text}</{name}>" if text else f"{opening}/>")
        return
    inner: list[str] = []
    step = 0 if text else indent  # blanks beside a text would become part of it
    for key in children:
        child = value[key]
        for one in child if isinstance(child, (list, tuple)) else [child]:
            if isinstance(one, (list, tuple)):
                raise BadXml(f"a list inside the list {key!r}: XML has none")
            _write(inner, key, one, form, step, depth + 1)
    if step:
        lines += [f"{opening}>", *inner, f"{pad}</{name}>"]
    else:
        lines.append(f"{opening}>{text}{''.join(inner)}</{name}>")


def _checked(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadXml(f"{str(name)[:60]!r} can't be the name of an element or attribute")
    return name


def _text(value: Any) -> str:
    return escape(_plain(value), {"\r": "&#xD;"})


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (str, int, float)):
        raise BadXml(f"{type(value).__name__} can't be a text in XML")
    text = str(value)
    wrong = _NOT_XML.search(text)
    if wrong:
        raise BadXml(f"the character {wrong.group()!r} can't be in XML")
    return text
