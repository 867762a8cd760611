"""A Node-RED export turned into flow documents.

    imported = turn(text)
    imported.flows      one document a tab, with the subflows and resources that it uses
    imported.findings   what is not as it was, node by node, and what to do about it

Nothing is dropped in silence: a node that has no counterpart stays as a disabled placeholder at its place, with its
wires, and its JSON in the note; a setting that has none is a finding.
"""

from flowcore.convert.nodered.export import NotAnExport
from flowcore.convert.nodered.findings import Finding
from flowcore.convert.nodered.flows import Imported, turn

__all__ = ["Finding", "Imported", "NotAnExport", "turn"]
