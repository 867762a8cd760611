"""The agents that lie in folders: each file of a folder that FLOWCORE_AGENTS names is a module of this package.

So they need no package of their own, and can import each other: `from flowcore_agents.shared import limits`.
"""

import os

__path__ = [folder for folder in os.environ.get("FLOWCORE_AGENTS", "").split(os.pathsep) if folder]
