"""What a node author imports; nodes and third-party packages use nothing else of flowcore."""

from flowcore.node.config import NodeConfig, field
from flowcore.node.hookspecs import hookimpl
from flowcore.node.message import Message
from flowcore.node.node import GiveUp, Node
from flowcore.node.ports import In, Out, Outputs, PortTypeError

__all__ = ["GiveUp", "In", "Message", "Node", "NodeConfig", "Out", "Outputs", "PortTypeError", "field", "hookimpl"]
