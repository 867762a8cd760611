"""flowcore: flows of independent node processes on NATS subjects."""

__version__ = "0.1.0"
