"""`python -m flowcore.flow`: write the published schema anew, after a change of the models."""

from flowcore.flow.schema import write

print(write())
