"""Counters for Prometheus, one registry a server.

Source: own.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
TOKENS = (16, 64, 256, 1024, 4096, 16384, 65536)


class Metrics:
    """What the server counts; `pending` gives the tokens that wait now."""

    def __init__(self, pending: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("harken_requests", "Requests answered", ["route", "status"], registry=self.registry)
        self.seconds = Histogram(
            "harken_request_seconds", "From a request's head to the end of its answer", ["route"],
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.items = Counter("harken_items", "Items that went through the model", ["kind"], registry=self.registry)
        self.batch_tokens = Histogram(
            "harken_batch_tokens", "Tokens of a batch", buckets=TOKENS, registry=self.registry
        )
        self.batch_seconds = Histogram(
            "harken_batch_seconds", "Seconds of a batch", buckets=SECONDS, registry=self.registry
        )
        self.audio_seconds = Counter("harken_audio_seconds", "Seconds of sound embedded", registry=self.registry)
        self.failed_items = Counter("harken_failed_items", "Items that could not be embedded", registry=self.registry)
        Gauge("harken_pending_tokens", "Tokens that wait for the model", registry=self.registry).set_function(pending)

    def batch(self, kind: tuple[str, str | None], num_items: int, num_tokens: int, seconds: float) -> None:
        """Note a batch; the queue calls it."""
        self.items.labels(kind[0]).inc(num_items)
        self.batch_tokens.observe(num_tokens)
        self.batch_seconds.observe(seconds)

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
