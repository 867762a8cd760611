"""Control services for flow documents: validate, deploy, look at revisions, go back to one, take a flow away."""

import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from flowcore.runtime.control.difference import Difference, difference
from flowcore.runtime.control.errors import ControlError, explain
from flowcore.runtime.control.operation import Answer, Nothing, Request, operation
from flowcore.runtime.results import DeployResult, HostError, StaleRevision

if TYPE_CHECKING:
    from flowcore.runtime.host import Host


class Document(Request):
    """A flow document, as the text of its file or as JSON."""

    document: str | dict[str, Any] = Field(description="As text, so that errors name lines, or as an object")
    file: str = Field("<document>", description="What errors call it")

    def text(self) -> str:
        """The document's text."""
        return self.document if isinstance(self.document, str) else json.dumps(self.document, ensure_ascii=False)


class Validated(Answer):
    """What is wrong with a document."""

    valid: bool
    flow: str | None = Field(description="Its id, where it could be read")
    problems: list[str] = Field(description="file:line pointer: what is wrong, the nearest right thing")
    notes: list[str] = Field(description="What was decided for you, such as which wire closes a cycle")


@operation("validate")
async def validate(host: "Host", ask: Document) -> Validated:
    """Check a document with the types, secrets and environment of this host; changes nothing."""
    await host.documents.prepare(ask.text())
    checked = host.documents.check(ask.text(), ask.file)
    return Validated(
        valid=not any(problem.severity == "error" for problem in checked.problems),
        flow=checked.document.id if checked.document is not None else None,
        problems=[str(problem) for problem in checked.problems],
        notes=list(checked.resolved.notes) if checked.resolved is not None else [],
    )


class DeployRequest(Request):
    """What to deploy, how much of it, and what it is based on."""

    documents: list[Document] = Field(min_length=1, description="One document; several with scope flow or full")
    scope: Literal["flow", "full", "nodes"] = Field(
        "flow",
        description="flow: these flows become what the documents say. full: and every other flow is removed. "
        "nodes: only the named nodes, and the wires at them, are taken over from the document",
    )
    nodes: list[str] = Field(default_factory=list, description="Node ids, with scope nodes")
    based_on: dict[str, int] = Field(
        default_factory=dict, description="Flow id -> revision its author started from; a stale one is refused"
    )
    timeout_s: float = Field(60.0, gt=0, le=600, description="How long to wait until it runs")


class Deployed(Answer):
    """What a deploy did to one flow. Each node id is in one of the lists."""

    flow: str
    revision: int
    kept: list[str] = Field(default_factory=list)
    reconfigured: list[str] = Field(default_factory=list)
    rewired: list[str] = Field(default_factory=list)
    restarted: list[str] = Field(default_factory=list)
    started: list[str] = Field(default_factory=list)
    stopped: list[str] = Field(default_factory=list)
    moved: list[str] = Field(default_factory=list, description="To another host")
    wires_added: int = 0
    wires_closed: int = 0
    failed: dict[str, str] = Field(default_factory=dict, description="Node id -> why it did not come up")
    starting: dict[str, float] = Field(
        default_factory=dict,
        description="Node id -> seconds so far, of what is slow to start: it goes when it is ready",
    )
    problems: list[str] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    took_s: float = 0.0
    removed: bool = False

    @classmethod
    def of(cls, result: DeployResult, **more: Any) -> "Deployed":
        """The host's result as an answer."""
        names = cls.model_fields.keys() - {"removed"}
        return cls(**{name: _plain(getattr(result, name)) for name in names}, **more)


class DeployAnswer(Answer):
    """One result a flow, in the order of the documents; with scope full the removed flows come last."""

    flows: list[Deployed]


@operation("deploy")
async def deploy(host: "Host", ask: DeployRequest) -> DeployAnswer:
    """Make flows run as their documents say, with the smallest change.

    Every document is checked before any is deployed. A flow whose revision is not the one in `based_on` is refused with
    the difference between the two. An unchanged document makes no new revision.
    """
    if ask.scope == "nodes":
        if len(ask.documents) != 1 or not ask.nodes:
            raise ControlError("invalid_request", "scope nodes takes one document and at least one node", where="nodes")
        parts = [Document(document=await _with_nodes(host, ask.documents[0], ask.nodes), file=ask.documents[0].file)]
    else:
        parts = ask.documents
    ids = await _check_all(host, parts)
    await _refuse_stale(host, ids, ask.based_on)
    done = []
    for flow, part in zip(ids, parts, strict=True):
        try:
            result = await host.documents.deploy(
                part.text(), part.file, based_on=ask.based_on.get(flow), timeout_s=ask.timeout_s
            )
        except StaleRevision as e:  # someone was quicker
            raise await _stale(host, e) from None
        done.append(Deployed.of(result))
    if ask.scope == "full":
        for flow in set(host.flows()) - set(ids):
            done.append(Deployed.of(await host.documents.remove(flow), removed=True))
    return DeployAnswer(flows=done)


async def _check_all(host: "Host", parts: list[Document]) -> list[str]:
    ids: list[str] = []
    problems: list[str] = []
    errors = 0
    for part in parts:
        await host.documents.prepare(part.text())
        checked = host.documents.check(part.text(), part.file)
        found = sum(problem.severity == "error" for problem in checked.problems)
        if found:
            problems += [str(problem) for problem in checked.problems]
            errors += found
        elif checked.document is None:
            raise ControlError("invalid_flow", "the document cannot be read", where=part.file)
        elif checked.document.id in ids:
            problems.append(f"{part.file}: flow {checked.document.id!r} is in another document of this deploy, too")
            errors += 1
        else:
            ids.append(checked.document.id)
    if errors:
        count = "1 error" if errors == 1 else f"{errors} errors"
        where = ", ".join(part.file for part in parts)
        do = "Correct it and deploy again; what ran goes on."
        raise ControlError("invalid_flow", f"{count}, nothing was deployed", where=where, do=do, problems=problems)
    return ids


async def _refuse_stale(host: "Host", ids: list[str], based_on: dict[str, int]) -> None:
    known = set(host.flows())
    for flow in ids:
        base = based_on.get(flow)
        if base is None or flow not in known:
            continue
        current = int((await host.documents.read(flow))["revision"])
        if current != base:
            raise await _stale(host, StaleRevision(flow, base, current))


async def _stale(host: "Host", error: StaleRevision) -> ControlError:
    answer = explain(error)
    try:
        old = (await host.documents.read(error.flow, error.based_on))["document"]
        new = (await host.documents.read(error.flow, error.current))["document"]
    except HostError:
        return answer  # the base is so old that it is no longer kept
    names = (f"revision {error.based_on}", f"revision {error.current}")
    answer.details["difference"] = (await difference(host, old, new, names)).model_dump()
    return answer


async def _with_nodes(host: "Host", part: Document, wanted: list[str]) -> dict[str, Any]:
    """The running document with `wanted` nodes, and the wires that touch one of them, as `part` has them."""
    try:
        new = json.loads(part.text())
        flow = new["id"]
        new_nodes = {node["id"]: node for node in new.get("nodes", [])}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ControlError(
            "invalid_flow", "not a flow document", where=part.file, do="See: flowcore validate"
        ) from None
    running = (await host.documents.read(flow))["document"]
    old_ids = [node["id"] for node in running.get("nodes", [])]
    unknown = [node for node in wanted if node not in new_nodes and node not in old_ids]
    if unknown:
        there = ", ".join(new_nodes)
        raise ControlError("unknown_node", f"no node {unknown[0]!r} in the document (it has: {there})", where=part.file)
    nodes = [node if node["id"] not in wanted else new_nodes.get(node["id"]) for node in running.get("nodes", [])]
    nodes += [node for id_, node in new_nodes.items() if id_ in wanted and id_ not in old_ids]
    kept = [wire for wire in running.get("wires", []) if not _touches(wire, wanted)]
    there_now = {node["id"] for node in nodes if node is not None}
    taken = [wire for wire in new.get("wires", []) if _touches(wire, wanted) and _ends(wire) <= there_now]
    return {**running, "nodes": [node for node in nodes if node is not None], "wires": kept + taken}


def _ends(wire: dict[str, Any]) -> set[str]:
    return {str(wire.get(end, "")).partition(".")[0] for end in ("from", "to")}


def _touches(wire: dict[str, Any], nodes: list[str]) -> bool:
    return bool(_ends(wire) & set(nodes))


class FlowAsked(Request):
    """One flow."""

    flow: str


class Flow(Answer):
    """A flow of this host."""

    flow: str
    name: str
    revision: int
    wanted: str
    nodes: int


class Flows(Answer):
    """All flows, running or not."""

    flows: list[Flow]


@operation("flows")
async def flows(host: "Host", ask: Nothing) -> Flows:
    """List the flows of this host, running or not."""
    return Flows(
        flows=[
            Flow(flow=each.flow, name=each.name, revision=each.revision, wanted=each.wanted, nodes=len(each.nodes))
            for each in await host.everywhere()
        ]
    )


class RevisionAsked(FlowAsked):
    """One revision of a flow."""

    revision: int | None = Field(None, description="null: the newest")


class Revision(Answer):
    """A revision of a flow."""

    flow: str
    revision: int
    created_ns: int = 0
    source: str = Field("", description="Where it came from: the file's name")
    deleted: bool = False
    document: dict[str, Any] | None = None


@operation("document")
async def document(host: "Host", ask: RevisionAsked) -> Revision:
    """The document of one revision."""
    return Revision(**await host.documents.read(ask.flow, ask.revision))


class Revisions(Answer):
    """The revisions of a flow that are kept, oldest first."""

    revisions: list[Revision]


@operation("revisions")
async def revisions(host: "Host", ask: FlowAsked) -> Revisions:
    """List the revisions of a flow that are kept (64), oldest first."""
    return Revisions(revisions=[Revision(**each) for each in await host.documents.revisions(ask.flow)])


class DiffRequest(FlowAsked):
    """Two revisions, or a revision and a document that is not deployed."""

    old: int | None = Field(None, description="null: the one before the newest; with `document` the newest")
    new: int | None = Field(None, description="A revision; null: the newest")
    document: str | dict[str, Any] | None = Field(None, description="Compare with this instead of `new`")


class Diff(Difference):
    """The difference, and between what."""

    flow: str
    old: int
    new: int | None = Field(description="null: the document that came with the request")


@operation("diff")
async def diff(host: "Host", ask: DiffRequest) -> Diff:
    """What changed between two revisions of a flow, or what deploying a document would change."""
    if ask.document is not None:
        old = await host.documents.read(ask.flow, ask.old)
        text = ask.document if isinstance(ask.document, str) else json.dumps(ask.document)
        await host.documents.prepare(text)
        problems = [str(each) for each in host.documents.check(text, "document").problems if each.severity == "error"]
        if problems:
            raise ControlError("invalid_flow", "the document has errors", where=ask.flow, problems=problems)
        shown = await difference(host, old["document"], json.loads(text), (f"revision {old['revision']}", "document"))
        return Diff(flow=ask.flow, old=old["revision"], new=None, **shown.model_dump())
    new = await host.documents.read(ask.flow, ask.new)
    old = await host.documents.read(ask.flow, ask.old or await _before(host, ask.flow, new["revision"]))
    names = (f"revision {old['revision']}", f"revision {new['revision']}")
    shown = await difference(host, old["document"], new["document"], names)
    return Diff(flow=ask.flow, old=old["revision"], new=new["revision"], **shown.model_dump())


async def _before(host: "Host", flow: str, revision: int) -> int:
    """The newest kept revision with a document before `revision`."""
    kept = [
        each for each in await host.documents.revisions(flow) if not each.get("deleted") and each["revision"] < revision
    ]
    if not kept:
        do = f"List them: flowcore history {flow}"
        raise ControlError("unknown", f"flow {flow!r} has no revision before {revision}", where=flow, do=do)
    return int(kept[-1]["revision"])


class RolledBack(Deployed):
    """The new revision, and which one it repeats."""

    restored: int


@operation("rollback")
async def rollback(host: "Host", ask: RevisionAsked) -> RolledBack:
    """Run an earlier revision of a flow again (null: the one before the newest); it becomes a new revision."""
    if ask.revision is None:
        current = await host.documents.read(ask.flow)
        restored = await _before(host, ask.flow, current["revision"])
    else:
        restored = ask.revision
    old = await host.documents.read(ask.flow, restored)
    result = await host.documents.deploy(
        json.dumps(old["document"], ensure_ascii=False), f"{ask.flow}, revision {restored}"
    )
    return RolledBack(restored=restored, **Deployed.of(result).model_dump())


@operation("remove")
async def remove(host: "Host", ask: FlowAsked) -> Deployed:
    """Stop a flow and take it out; its revisions stay in the history, and rollback brings it back."""
    return Deployed.of(await host.documents.remove(ask.flow), removed=True)


class TypesAsked(Request):
    """All types, or one."""

    type: str | None = Field(None, description="null: all")


class Types(Answer):
    """Node types as data: ports, the JSON schema of the config, what is missing."""

    types: list[dict[str, Any]]
    problems: list[str] = Field(description="Plug-ins that could not be read")


@operation("types")
async def types(host: "Host", ask: TypesAsked) -> Types:
    """The node types that the hosts on this bus can run; a member says its own."""
    known = host.types
    if ask.type is not None and ask.type not in known:
        import difflib

        near = difflib.get_close_matches(ask.type, list(known), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ControlError("unknown", f"no node type {ask.type!r}{hint}", do="List them: flowcore nodes")
    chosen = [info for name, info in sorted(known.items()) if ask.type in (None, name)]
    return Types(types=[info.as_data() for info in chosen], problems=list(host.type_problems))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
