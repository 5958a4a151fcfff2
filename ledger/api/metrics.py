"""What Prometheus reads. No label is a fork, an app or anything else that whoever asks can make up."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ledger.anchor import Confirmation
from ledger.anchor.worker import Worker
from ledger.api.service import Service
from ledger.publisher import Publisher
from ledger.witness.client import State

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

WEBSOCKET = "WebSocket"  # the method of a stream

_COMMIT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # seconds
_INTEGRATION = (0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 7.5, 10, 30, 60)
_REQUEST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The figures of one service, in a registry of their own. Safe to use from several threads."""

    def __init__(self, service: Service) -> None:
        self._registry = registry = CollectorRegistry()
        self.appended = Counter(
            "forkledger_entries_appended", "Entries by which the log grew, through whatever door.", registry=registry
        )
        self._refused = Counter(
            "forkledger_refused",
            "Records refused, by error code; a request or stream that was turned away whole counts once.",
            ["code"], registry=registry,
        )  # fmt: skip
        self.commit_delay = Histogram(
            "forkledger_commit_delay_seconds", "From a place in the queue until it is durable.",
            buckets=_COMMIT, registry=registry,
        )  # fmt: skip
        self.integration_delay = Histogram(
            "forkledger_integration_delay_seconds",
            "From an entry's acceptance until a published checkpoint covers it, at most; of the oldest of each turn.",
            buckets=_INTEGRATION, registry=registry,
        )  # fmt: skip
        self.log_size = Gauge("forkledger_log_size", "Entries in the log.", registry=registry)
        self.published_size = Gauge(
            "forkledger_published_size", "Entries that the published checkpoint covers.", registry=registry
        )
        self.checkpoint_age = Gauge(
            "forkledger_checkpoint_age_seconds",
            "Since the published checkpoint was written. Only as long as entries wait does it have to stay young.",
            registry=registry,
        )
        self.oldest_unpublished = Gauge(
            "forkledger_oldest_unpublished_seconds",
            "Since the oldest entry that no published checkpoint covers was accepted; 0 when there is none.",
            registry=registry,
        )
        self.publish_failures = Counter(
            "forkledger_publish_failures", "Turns that published nothing, for an error.", registry=registry
        )
        Gauge("forkledger_queue", "Records that were taken and are not durable yet.", registry=registry).set_function(
            lambda: service.ledger.waiting
        )
        self._requests = Counter(
            "forkledger_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._durations = Histogram(
            "forkledger_request_seconds", "From a request to the end of its answer. Without streams.",
            ["method", "route"], buckets=_REQUEST, registry=registry,
        )  # fmt: skip
        registry.register(_Standings(service.publisher))
        if service.worker is not None:
            registry.register(_Anchors(service.worker))

    def refused(self, code: str) -> None:
        self._refused.labels(code).inc()

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, str(status)).inc()
        if method != WEBSOCKET:  # one lasts for hours
            self._durations.labels(method, route).observe(seconds)

    def text(self) -> bytes:
        """All of it as Prometheus reads it. Asks no database."""
        return generate_latest(self._registry)


class _Standings:
    """What is known of each witness at the moment of asking."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def collect(self) -> Iterator[Metric]:
        state = GaugeMetricFamily(
            "forkledger_witness_state", "1 for how a witness answered last, 0 for how it did not.",
            labels=["witness", "state"],
        )  # fmt: skip
        alarms = CounterMetricFamily(
            "forkledger_witness_alarms", "How often a witness knew another history of this log, or a later one.",
            labels=["witness"],
        )  # fmt: skip
        for name, standing in self._publisher.standings().items():
            for each in State:
                state.add_metric([name, each.value], float(standing.state is each))
            alarms.add_metric([name], standing.alarms)
        yield state
        yield alarms


class _Anchors:
    """How each anchor stood after its last turn."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        size = GaugeMetricFamily(
            "forkledger_anchor_size", "Entries that an anchor covers, by how far its place has taken it for good.",
            labels=["backend", "confirmation"],
        )  # fmt: skip
        lag = GaugeMetricFamily(
            "forkledger_anchor_lag", "Entries that are published and not anchored.", labels=["backend"]
        )
        halted = GaugeMetricFamily(
            "forkledger_anchor_halted", "1 where a person has to look, 0 where not.", labels=["backend"]
        )
        for one in self._worker.standings:
            size.add_metric([one.backend, Confirmation.LATEST.value], one.anchored)
            size.add_metric([one.backend, Confirmation.SAFE.value], one.safe)
            size.add_metric([one.backend, Confirmation.FINALIZED.value], one.settled)
            lag.add_metric([one.backend], one.lag)
            halted.add_metric([one.backend], float(one.halted is not None))
        yield from (size, lag, halted)
