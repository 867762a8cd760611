"""For all tests."""

import os

# Imported first: pytest rewrites hypothesis when it is imported, and on Python 3.11 a ResourceWarning that the garbage
# collector shows meanwhile breaks the parser (python/cpython#106905). At the start there is no garbage yet.
import hypothesis  # noqa: F401

os.environ.setdefault("FLOWCORE_EDITOR", "0")  # a process less for each runtime; tests/gateway and tests/e2e have it
