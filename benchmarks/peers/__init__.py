"""The same work in Node-RED, dora, raw nats-py and flowcore, beside each other: `python -m benchmarks.peers`."""
