"""What a node author imports; nodes and third-party packages use nothing else of flowcore.

Beside it, by name: `flowcore.node.testing` (tests), `flowcore.node.paths` (parts of messages), `flowcore.node.patterns`
(regular expressions with a time limit), `flowcore.node.formats` (bytes to payloads and back), `flowcore.node.kept`
(values in files of the node's own).
"""

from flowcore.buffers import BufferExpired, NoRoom, Tensor
from flowcore.node.agent import Agent
from flowcore.node.bus_access import bus_of
from flowcore.node.config import NodeConfig, field
from flowcore.node.hookspecs import hookimpl
from flowcore.node.message import Message
from flowcore.node.node import GiveUp, Node
from flowcore.node.ports import In, Out, Outputs, PortTypeError
from flowcore.node.script_access import script_of

__all__ = [
    "Agent",
    "BufferExpired",
    "GiveUp",
    "In",
    "Message",
    "NoRoom",
    "Node",
    "NodeConfig",
    "Out",
    "Outputs",
    "PortTypeError",
    "Tensor",
    "bus_of",
    "field",
    "hookimpl",
    "script_of",
]
