"""`/metrics` for Prometheus: what the hosts know of every process and every wire, at the moment of the scrape.

Nothing is collected between scrapes; the counters are those of the processes, so they begin anew with a process and
Prometheus' `rate()` takes that as the reset it is.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

CONTENT_TYPE = CONTENT_TYPE_LATEST

_NODE = ("flow", "node", "process", "type")
_COUNTERS = {
    "handled": "Messages handled",
    "sent": "Messages sent",
    "errors": "Handlers that raised",
    "late": "Messages past their deadline",
    "given_up": "Messages given up",
    "source_drops": "Messages that a source dropped because its wires were full",
    "malformed": "Frames that did not decode",
}
_GAUGES = {
    "queue": "Messages that wait in the process",
    "cpu": "Share of one core",
    "pss_bytes": "Memory, of shared pages its share",
}
_WIRE = ("flow", "wire", "delivery")
_OUT_COUNTERS = {"drops": "Messages that the wire dropped", "resent": "Messages sent again"}
_OUT_GAUGES = {
    "unacked": "Messages on the wire that are not acked",
    "window": "Messages that may be un-acked",
    "bytes": "Bytes that are not acked",
    "age_s": "Age of the oldest un-acked message, seconds",
    "blocked": "1 while the wire makes its producer wait",
}


def text(status: dict[str, Any]) -> bytes:
    """The answer of the control service `status` in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(status))
    return generate_latest(registry)


class _Snapshot:
    """One status, as metrics."""

    def __init__(self, status: dict[str, Any]) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client asks."""
        flows = self._status["flows"]
        nodes = [node for flow in flows for node in flow["nodes"]]
        info = GaugeMetricFamily("flowcore_info", "1, with the version", labels=("version", "host"))
        info.add_metric((self._status["host"]["version"], self._status["host"]["host"] or "main"), 1)
        yield info
        wanted = GaugeMetricFamily("flowcore_flow_running", "1 when the flow is wanted to run", labels=("flow",))
        for flow in flows:
            wanted.add_metric((flow["flow"],), float(flow["wanted"] == "running"))
        yield wanted
        yield from _of_nodes(nodes)
        yield from _of_wires(nodes)


def _of_nodes(nodes: list[dict[str, Any]]) -> Iterator[Metric]:
    state = GaugeMetricFamily("flowcore_node_state", "1 for the state it is in", labels=(*_NODE, "state"))
    restarts = CounterMetricFamily("flowcore_node_restarts", "Restarts after a crash", labels=_NODE)
    for node in nodes:
        labels = tuple(node[name] for name in _NODE)
        state.add_metric((*labels, node["state"]), 1)
        restarts.add_metric(labels, node["restarts"])
    yield state
    yield restarts
    for names, family in ((_COUNTERS, CounterMetricFamily), (_GAUGES, GaugeMetricFamily)):
        for name, doc in names.items():
            metric = family(f"flowcore_node_{name}", doc, labels=_NODE)
            for node in nodes:
                if name in node["stats"]:
                    metric.add_metric(tuple(node[label] for label in _NODE), node["stats"][name])
            yield metric
    times = GaugeMetricFamily(
        "flowcore_node_latency_seconds", "From a message's making to its end", labels=(*_NODE, "quantile")
    )
    for node in nodes:
        for key, quantile in (("p50_ms", "0.5"), ("p99_ms", "0.99")):
            if node["stats"].get(key) is not None:
                times.add_metric((*(node[label] for label in _NODE), quantile), node["stats"][key] / 1000)
    yield times


def _of_wires(nodes: list[dict[str, Any]]) -> Iterator[Metric]:
    outs = [(node, wire) for node in nodes for wire in node["stats"].get("outputs", ())]
    for names, family in ((_OUT_COUNTERS, CounterMetricFamily), (_OUT_GAUGES, GaugeMetricFamily)):
        for name, doc in names.items():
            metric = family(f"flowcore_wire_{name}", doc, labels=_WIRE)
            for node, wire in outs:
                metric.add_metric((node["flow"], wire["wire"], wire["delivery"]), float(wire[name]))
            yield metric
    taken = CounterMetricFamily("flowcore_wire_taken", "Messages that the consumer took", labels=_WIRE)
    queued = GaugeMetricFamily("flowcore_wire_queued", "Messages taken and not handled", labels=_WIRE)
    for node in nodes:
        for wire in node["stats"].get("inputs", ()):
            labels = (node["flow"], wire["wire"], wire["delivery"])
            taken.add_metric(labels, wire["taken"])
            queued.add_metric(labels, wire["queued"])
    yield taken
    yield queued
