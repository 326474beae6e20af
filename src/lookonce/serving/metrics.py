"""What the server measures, in the format of Prometheus."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from lookonce.serving.batching import Batch
from lookonce.serving.models import ServedModel

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.num_requests = 0
        own, of_model = self.registry, ("model",)
        self._requests = Counter("lookonce_requests", "Answered requests.", ("path", "status"), registry=own)
        self._latency = Histogram(
            "lookonce_request_seconds",
            "Seconds from the request's headers to the end of its answer.",
            ("path",),
            buckets=SECONDS,
            registry=own,
        )
        self._waits, self._runs, self._sizes = (
            Histogram(f"lookonce_{name}", text, of_model, buckets=buckets, registry=own)
            for name, text, buckets in (
                ("queue_seconds", "Seconds of an image in the queue.", SECONDS),
                ("batch_seconds", "Seconds of a batch in the model.", SECONDS),
                ("batch_size", "Images of a batch.", SIZES),
            )
        )
        self._errors = Counter("lookonce_detection_errors", "Images whose detection failed.", of_model, registry=own)

    def on_request(self, path: str, status: int, seconds: float) -> None:
        """path: of the route, not as typed, so that there are few."""
        self.num_requests += 1
        self._requests.labels(path, str(status)).inc()
        self._latency.labels(path).observe(seconds)

    def on_batch(self, model: str, batch: Batch) -> None:
        for seconds in batch.waits:
            self._waits.labels(model).observe(seconds)
        self._runs.labels(model).observe(batch.seconds)
        self._sizes.labels(model).observe(len(batch.waits))
        self._errors.labels(model).inc(batch.errors)

    def watch(self, models: Iterable[ServedModel]) -> None:
        """Show the queue length and version of these models."""
        self.registry.register(_OfModels(list(models)))

    def as_text(self) -> bytes:
        return generate_latest(self.registry)


class _OfModels(Collector):
    def __init__(self, models: list[ServedModel]) -> None:
        self._models = models

    def collect(self) -> Iterable[GaugeMetricFamily]:
        waiting = GaugeMetricFamily("lookonce_queue_length", "Images that wait.", labels=("model",))
        version = GaugeMetricFamily("lookonce_model_version", "1, and one more after each reload.", labels=("model",))
        for model in self._models:
            waiting.add_metric((model.name,), model.threads.num_waiting)
            version.add_metric((model.name,), model.version)
        return waiting, version
