"""The flow document: model, schema, check, resolve, diff of two revisions. No sockets, no clock, no processes."""

from flowcore.flow.diff import Plan, plan
from flowcore.flow.format import format_flow
from flowcore.flow.model import FORMAT, FlowDocument, NodeDef, NodeSettings, SubflowDef, WireDef
from flowcore.flow.problems import FlowError, Problem
from flowcore.flow.references import settle
from flowcore.flow.resolve import resolve
from flowcore.flow.resolved import NodeSpec, ResolvedFlow, WireSpec
from flowcore.flow.types import NodeTypeInfo, PortInfo, fits
from flowcore.flow.validate import Checked, check

__all__ = [
    "FORMAT",
    "Checked",
    "FlowDocument",
    "FlowError",
    "NodeDef",
    "NodeSettings",
    "NodeSpec",
    "NodeTypeInfo",
    "Plan",
    "PortInfo",
    "Problem",
    "ResolvedFlow",
    "SubflowDef",
    "WireDef",
    "WireSpec",
    "check",
    "fits",
    "format_flow",
    "plan",
    "resolve",
    "settle",
]
