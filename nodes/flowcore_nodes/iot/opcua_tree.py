"""What an OPC UA server has: a walk through its address space, level by level, and what its variables are.

Asks for as much at once as the server takes: within the limits that it names, in halves where it says that this is too
much, and on from its continuation points. An address space has cycles, and many ways to one node: each node is found
once, by its shortest path.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from asyncua import ua
from asyncua.common.utils import ServiceError

from flowcore_nodes.iot.opcua import plain, text_of
from flowcore_nodes.iot.opcua_link import Link, Refused, node_id, said, written

_BROWSED_AT_ONCE, _READ_AT_ONCE, _REFERENCES_AT_ONCE = 100, 500, 1000
_LOOKED_AT = 100_000  # nodes, at most
_TOO_MUCH = {
    ua.StatusCodes.BadTooManyOperations, ua.StatusCodes.BadResponseTooLarge, ua.StatusCodes.BadRequestTooLarge,
    ua.StatusCodes.BadEncodingLimitsExceeded, ua.StatusCodes.BadTcpMessageTooLarge,
}  # fmt: skip
_DOWN, _SERVER, _PROPERTY, *_LIMITS = (
    node_id(number)
    for number in (
        ua.ObjectIds.HierarchicalReferences, ua.ObjectIds.Server, ua.ObjectIds.HasProperty,
        ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse,
        ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
    )
)  # fmt: skip

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


@dataclass
class Found:
    """A node."""

    node_id: ua.NodeId
    path: str  # names of those above it, and its own
    name: str
    display_name: str
    node_class: ua.NodeClass
    is_property: bool


@dataclass
class Walked:
    """What a walk has found.

    Attributes:
        is_cut: there is more than was wanted; or than is looked at.
        deeper: how many nodes, of those that may have something beneath them, were too deep to be looked into.
        errors: node -> why it could not be looked into, or not to the end.
        units: variable -> the property that has its unit.
    """

    found: list[Found] = field(default_factory=list)
    is_cut: bool = False
    deeper: int = 0
    errors: dict[ua.NodeId, str] = field(default_factory=dict)
    units: dict[ua.NodeId, ua.NodeId] = field(default_factory=dict)


class Tree:
    """The address space behind a link. Its methods raise Refused, OSError, TimeoutError."""

    def __init__(self, link: Link) -> None:
        self._session = link.client.uaclient
        self._namespaces: list[str] = []
        self._link = link
        self._browsed_at_once, self._read_at_once = _BROWSED_AT_ONCE, _READ_AT_ONCE

    async def begin(self) -> None:
        """Ask for namespaces and limits."""
        self._namespaces = await self._link.namespaces()
        browsed, read = [value_of(one) for one in await self._link.read(_LIMITS)]
        self._browsed_at_once = min(_BROWSED_AT_ONCE, browsed or _BROWSED_AT_ONCE)  # 0: no limit
        self._read_at_once = min(_READ_AT_ONCE, read or _READ_AT_ONCE)

    async def walk(
        self, start: ua.NodeId, depth: int, most: int, is_wanted: Callable[[Found], bool], *, properties: bool
    ) -> Walked:
        """Go down from a node, which is not itself among what is found.

        Args:
            most: after so many nodes that are wanted it ends; the way goes through the others all the same.
            properties: whether properties, such as the unit of a variable, count as nodes.
        """
        walked, seen, beneath = Walked(), {start}, list[Found]()
        level = [(start, "")]
        for _ in range(depth):
            beneath = []
            for at in range(0, len(level), self._browsed_at_once):
                some = level[at : at + self._browsed_at_once]
                answers = await self._browse([node for node, _ in some])
                for (node, path), (references, why) in zip(some, answers, strict=True):
                    if why:
                        walked.errors[node] = why
                    for one in self._found(references, path):
                        if one.is_property and one.name == "EngineeringUnits":
                            walked.units[node] = one.node_id
                        if one.node_id in seen or (one.is_property and not properties):
                            continue
                        seen.add(one.node_id)
                        if is_wanted(one):
                            walked.found.append(one)
                        if len(walked.found) > most or len(seen) > _LOOKED_AT:
                            walked.found, walked.is_cut = walked.found[:most], True
                            return walked
                        if one.node_id != _SERVER:  # hundreds of values about the server itself
                            beneath.append(one)
            level = [(one.node_id, one.path + "/") for one in beneath]
        leaves = (ua.NodeClass.Variable, ua.NodeClass.Method)
        walked.deeper = sum(one.node_class not in leaves for one in beneath)
        return walked

    def _found(self, references: Iterable[ua.ReferenceDescription], above: str) -> Iterable[Found]:
        for one in references:
            target: Any = one.NodeId
            uri, index = getattr(target, "NamespaceUri", None), target.NamespaceIndex
            if getattr(target, "ServerIndex", 0) or (uri and uri not in self._namespaces):
                continue  # of another server
            target = node_id(target.Identifier, self._namespaces.index(uri) if uri else index)
            name = text_of(one.BrowseName.Name or written(target, self._namespaces))
            yield Found(
                target, above + name, name, text_of(one.DisplayName.Text or name), ua.NodeClass(one.NodeClass),
                one.ReferenceTypeId == _PROPERTY,
            )  # fmt: skip

    async def _browse(self, ids: Sequence[ua.NodeId]) -> list[tuple[list[ua.ReferenceDescription], str]]:
        """What is beneath each, and why that is not known, or not all of it."""
        return await self._asked(ids, self._browse_some, lambda why: ([], why))

    async def _browse_some(self, ids: Sequence[ua.NodeId]) -> list[tuple[list[ua.ReferenceDescription], str]]:
        what = ua.BrowseParameters(RequestedMaxReferencesPerNode=_REFERENCES_AT_ONCE)
        what.NodesToBrowse = [
            ua.BrowseDescription(
                NodeId=one, BrowseDirection=ua.BrowseDirection.Forward, IncludeSubtypes=True,
                ReferenceTypeId=_DOWN, ResultMask=ua.BrowseResultMask.All,
            )
            for one in ids
        ]  # fmt: skip
        results = await self._session.browse(what)
        found = [(list(one.References or ()), one.StatusCode) for one in results]
        points = {at: one.ContinuationPoint for at, one in enumerate(results) if one.ContinuationPoint}
        while points:
            is_enough = sum(len(references) for references, _ in found) > _LOOKED_AT
            more = await self._session.browse_next(
                ua.BrowseNextParameters(ReleaseContinuationPoints=is_enough, ContinuationPoints=[*points.values()])
            )
            if is_enough:
                break
            for at, one in zip([*points], more, strict=True):
                found[at] = [*found[at][0], *(one.References or ())], one.StatusCode
                points[at] = one.ContinuationPoint
            points = {at: point for at, point in points.items() if point}
        answers = [(references, said(status) if status.is_bad() else "") for references, status in found]
        for at in points:
            answers[at] = found[at][0], "there is more than is looked at"
        for at, (_, status) in enumerate(found):  # a server has only so many continuation points: now they are free
            if status.value == ua.StatusCodes.BadNoContinuationPoints and len(ids) > 1:
                (answers[at],) = await self._browse_some([ids[at]])
        return answers

    async def about(self, walked: Walked, *, values: bool) -> list[dict[str, Any]]:
        """What each that was found is, as it travels; of variables with their values, or without."""
        found = walked.found
        of_all = [ua.AttributeIds.Description]
        of_variable = [*of_all, ua.AttributeIds.DataType, ua.AttributeIds.ValueRank, ua.AttributeIds.UserAccessLevel]
        if values:
            of_variable.append(ua.AttributeIds.Value)
        wanted = [of_variable if one.node_class == ua.NodeClass.Variable else of_all for one in found]
        asked = [ua.ReadValueId(one.node_id, name) for one, names in zip(found, wanted, strict=True) for name in names]
        answers = iter(await self._read(asked))
        has = [{name: next(answers) for name in names} for names in wanted]
        kinds = {value_of(one[ua.AttributeIds.DataType]) for one in has if ua.AttributeIds.DataType in one}
        names = await self._names([one for one in kinds if one is not None])
        told = [self._told(one, attributes, names) for one, attributes in zip(found, has, strict=True)]
        of_unit = {at: walked.units[one.node_id] for at, one in enumerate(found) if one.node_id in walked.units}
        units = await self._read([ua.ReadValueId(one, ua.AttributeIds.Value) for one in of_unit.values()])
        for at, read in zip(of_unit, units, strict=True):
            if unit := plain(getattr(value_of(read), "DisplayName", None)):
                told[at]["unit"] = unit
        return told

    def _told(self, one: Found, has: dict[ua.AttributeIds, ua.DataValue], names: dict[ua.NodeId, str]) -> dict:
        told: dict[str, Any] = {
            "path": one.path, "node": text_of(written(one.node_id, self._namespaces)), "class": one.node_class.name,
            "name": one.name,
        }  # fmt: skip
        if one.display_name != one.name:
            told["display_name"] = one.display_name
        text = plain(value_of(has[ua.AttributeIds.Description]))
        if text and text not in (one.name, one.display_name):
            told["description"] = text
        if ua.AttributeIds.DataType not in has:
            return told
        rank, access = value_of(has[ua.AttributeIds.ValueRank]), value_of(has[ua.AttributeIds.UserAccessLevel])
        dimensions = max(1, rank) if rank is not None and rank >= 0 else 0  # 0 is one or more
        told["type"] = names.get(value_of(has[ua.AttributeIds.DataType]), "") + "[]" * dimensions
        told["readable"] = None if access is None else bool(access & 1 << ua.AccessLevel.CurrentRead)
        told["writable"] = None if access is None else bool(access & 1 << ua.AccessLevel.CurrentWrite)
        if ua.AttributeIds.Value in has:
            value = has[ua.AttributeIds.Value]
            told["value"] = plain(value_of(value))
            if value.StatusCode is not None and not value.StatusCode.is_good():
                told["status"] = said(value.StatusCode).partition(":")[0]
        return told

    async def _names(self, ids: Sequence[ua.NodeId]) -> dict[ua.NodeId, str]:
        """Of types: Double, or what the server calls its own."""
        standard: dict[Any, str] = ua.ObjectIdNames
        names = {one: standard.get(one.Identifier, "") for one in ids if not one.NamespaceIndex}
        others = [one for one in ids if one.NamespaceIndex]
        asked = [ua.ReadValueId(one, ua.AttributeIds.BrowseName) for one in others]
        for one, read in zip(others, await self._read(asked), strict=True):
            name = value_of(read)
            names[one] = name.Name if name is not None else ""
        return {one: text_of(name or written(one, self._namespaces)) for one, name in names.items()}

    async def _read(self, asked: Sequence[ua.ReadValueId]) -> list[ua.DataValue]:
        async def read(some: Sequence[ua.ReadValueId]) -> list[ua.DataValue]:
            what = ua.ReadParameters(TimestampsToReturn=ua.TimestampsToReturn.Neither, NodesToRead=[*some])
            return await self._session.read(what)

        found: list[ua.DataValue] = []
        for at in range(0, len(asked), self._read_at_once):
            found += await self._asked(
                asked[at : at + self._read_at_once], read,
                lambda _: ua.DataValue(StatusCode=ua.StatusCode(ua.UInt32(ua.StatusCodes.BadDecodingError))),
            )  # fmt: skip
        return found

    async def _asked(
        self, what: Sequence[Asked], ask: Callable[[Sequence[Asked]], Awaitable[list[Answer]]],
        without: Callable[[str], Answer],
    ) -> list[Answer]:  # fmt: skip
        """Ask for all of it, or for half and half where that is too much, or where the library can't read the answer.

        Args:
            without: the answer for one that has none even alone, made of the reason.
        """
        try:
            return await ask(what)
        except OSError:
            raise
        except Exception as e:  # of reading an answer, anything
            if isinstance(e, (ua.UaStatusCodeError, ServiceError)) and e.code not in _TOO_MUCH:
                raise Refused(said(e.code)) from None
            if len(what) == 1:
                return [without(str(e) or type(e).__name__)]
        half = len(what) // 2
        return [*await self._asked(what[:half], ask, without), *await self._asked(what[half:], ask, without)]


def value_of(read: ua.DataValue) -> Any:
    """The value, None when there is none, or a bad one."""
    is_bad = read.StatusCode is not None and read.StatusCode.is_bad()
    return None if is_bad or read.Value is None else read.Value.Value
