"""/metrics: what was measured, in Prometheus's words. One table says what is told, under which name, and from where.

Names are vLLM's under Runner's prefix where vLLM has them. Counts nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from aiohttp import web
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from runner import __version__
from runner.api.traffic import Traffic
from runner.api.unknown import Unknown
from runner.inference.service import Service
from runner.protocol.totals import STEP_SECONDS, STEP_TOKENS, Spread, Tally
from runner.scheduler.history import What
from runner.scheduler.meters import Measured
from runner.scheduler.pools import by_pool, held

PREFIX = "runner_"


@dataclass(frozen=True, slots=True)
class Histogram:
    """A spread and the bounds that it is over."""

    bounds: tuple[float, ...]
    spread: Spread


Value = float | Histogram
_LEAVING: tuple[What, ...] = ("evicted", "expired", "unloaded", "replaced", "died")
_Read = Callable[[Measured], Iterable[tuple[tuple[str, ...], Value]]]


@dataclass(frozen=True, slots=True)
class Row:
    """A metric of each model. `labels` are those beside `model`, in the order in which `read` gives their values."""

    name: str
    kind: str
    help: str
    read: _Read
    labels: tuple[str, ...] = ()


def _one(read: Callable[[Measured], Value | None]) -> _Read:
    """A metric without further labels; None where there is nothing to tell."""

    def values(measured: Measured) -> Iterable[tuple[tuple[str, ...], Value]]:
        value = read(measured)
        return () if value is None else (((), value),)

    return values


def _of(tally: Tally) -> Histogram:
    return Histogram(tally.bounds, tally.spread())


def _sizes(measured: Measured) -> Iterable[tuple[tuple[str, ...], Value]]:
    ready = measured.member.ready if measured.member else None
    if ready is None:
        return
    for kind, sizes in (("weights", ready.weights_bytes), ("kv", ready.kv_bytes), ("compute", ready.compute_bytes)):
        for device, size in sizes.items():
            yield (kind, device), size


def _resident(measured: Measured) -> Iterable[tuple[tuple[str, ...], Value]]:
    member = measured.member
    if member is None or member.ready is None or member.loaded_for != measured.model:  # a shared worker counts once
        return
    yield from (((pool,), size) for pool, size in by_pool(held(member.ready)).items())


def _left(measured: Measured) -> Iterable[tuple[tuple[str, ...], Value]]:
    return (((reason,), measured.happened.get(reason, 0)) for reason in _LEAVING)


def _phases(measured: Measured) -> Iterable[tuple[tuple[str, ...], Value]]:
    engine = measured.engine
    spent = {"fill": engine.fill_ns, "wait": engine.wait_ns, "sample": engine.sample_ns, "post": engine.post_ns}
    return (((phase,), nanoseconds / 1e9) for phase, nanoseconds in spent.items())


def _reused(measured: Measured) -> Iterable[tuple[tuple[str, ...], Value]]:
    engine = measured.engine
    found = {"cells": engine.reused_cells, "ram": engine.reused_ram, "disk": engine.reused_disk}
    return (((source,), tokens) for source, tokens in found.items())


def _usage(measured: Measured) -> float | None:
    stats = measured.member.stats if measured.member else None
    return stats.cells_busy / stats.cells if stats and stats.cells else None


def _cells(measured: Measured) -> Iterable[tuple[tuple[str, ...], Value]]:
    stats = measured.member.stats if measured.member else None
    if stats is None:
        return
    yield ("busy",), stats.cells_busy
    yield ("idle",), stats.cells_used - stats.cells_busy
    yield ("free",), stats.cells - stats.cells_used


def _successes(measured: Measured) -> Iterable[tuple[tuple[str, ...], Value]]:
    outcomes = measured.meters.outcomes
    return (((reason,), outcomes["generate", reason]) for reason in ("stop", "length"))


TABLE = (
    # Requests
    Row("num_requests_running", "gauge", "Requests that a worker computes now", _one(lambda m: m.running)),
    Row(
        "num_requests_waiting",
        "gauge",
        "Requests that wait, in the queue or for their turn in the worker",
        _one(lambda m: m.waiting),
    ),
    Row(
        "num_requests_queued",
        "gauge",
        "Of the waiting requests, those in the daemon's queue, which no worker has taken yet",
        _one(lambda m: m.queued),
    ),
    Row(
        "requests_total",
        "counter",
        "Requests that ended, each once: outcome is stop, length, done (vectors, scores, a question or a load), "
        "cancelled, or the code of the error",
        lambda m: m.meters.outcomes.items(),
        ("kind", "outcome"),
    ),
    Row(
        "request_success_total",
        "counter",
        "Generations that ended well, by reason: the part of requests_total that vLLM's dashboards ask for",
        _successes,
        ("finished_reason",),
    ),
    Row(
        "admission_rejections_total",
        "counter",
        "Requests turned away at once, by the code of the error; they are in no other count",
        lambda m: (((code,), count) for code, count in m.meters.rejections.items()),
        ("code",),
    ),
    Row(
        "prompt_tokens_total",
        "counter",
        "Tokens of prompts and of inputs to embed or rank, each request's once",
        _one(lambda m: m.meters.prompt_tokens),
    ),
    Row("generation_tokens_total", "counter", "Tokens generated", _one(lambda m: m.meters.completion_tokens)),
    Row(
        "prefix_cache_queries_total",
        "counter",
        "Tokens of prompts that were looked up among computed ones",
        _one(lambda m: m.meters.looked_up),
    ),
    Row(
        "prefix_cache_hits_total",
        "counter",
        "Tokens of those that were found, and not computed again",
        _one(lambda m: m.meters.cached_tokens),
    ),
    Row(
        "request_queue_time_seconds",
        "histogram",
        "From a request's arrival until a worker begins to compute it, a load of its model included",
        _one(lambda m: _of(m.meters.queue)),
    ),
    Row(
        "time_to_first_token_seconds",
        "histogram",
        "From a request's arrival to the first text of its answer",
        _one(lambda m: _of(m.meters.first_token)),
    ),
    Row(
        "inter_token_latency_seconds",
        "histogram",
        "Between two pieces of an answer, which are mostly a token each",
        _one(lambda m: _of(m.meters.gaps)),
    ),
    Row(
        "e2e_request_latency_seconds",
        "histogram",
        "From a request's arrival to its end, of those that were answered",
        _one(lambda m: _of(m.meters.whole)),
    ),
    Row(
        "request_prefill_time_seconds",
        "histogram",
        "From the start in the worker to the first token, of answered requests",
        _one(lambda m: _of(m.meters.prefill)),
    ),
    Row(
        "request_decode_time_seconds",
        "histogram",
        "From the first token to the last, of answered requests",
        _one(lambda m: _of(m.meters.decode)),
    ),
    Row("request_prompt_tokens", "histogram", "Tokens of a request's prompt", _one(lambda m: _of(m.meters.prompts))),
    Row("request_generation_tokens", "histogram", "Tokens of an answer", _one(lambda m: _of(m.meters.answers))),
    # The engine
    Row("engine_steps_total", "counter", "Rounds of planning and decoding", _one(lambda m: m.engine.steps)),
    Row(
        "engine_ubatches_total",
        "counter",
        "Passes over the weights; more than steps where llama.cpp had to split a batch",
        _one(lambda m: m.engine.ubatches),
    ),
    Row(
        "engine_phase_seconds_total",
        "counter",
        "Time of steps by phase: fill (plan, write the batch), wait (decode), sample, post (text, events)",
        _phases,
        ("phase",),
    ),
    Row(
        "engine_step_seconds",
        "histogram",
        "Length of a step",
        _one(lambda m: Histogram(STEP_SECONDS, m.engine.step_seconds)),
    ),
    Row(
        "iteration_tokens_total",
        "histogram",
        "Tokens computed in a step",
        _one(lambda m: Histogram(STEP_TOKENS, m.engine.step_tokens)),
    ),
    Row(
        "num_preemptions_total",
        "counter",
        "Sequences that gave up their memory and came back later",
        _one(lambda m: m.engine.preemptions),
    ),
    Row(
        "prefix_reused_tokens_total",
        "counter",
        "Tokens that needed no computing, by where they stood: cells of the KV cache, ram, disk",
        _reused,
        ("source",),
    ),
    Row(
        "prefix_demotions_total",
        "counter",
        "Prefixes that were saved when they lost their cells",
        _one(lambda m: m.engine.demotions),
    ),
    Row(
        "kv_cache_usage_perc",
        "gauge",
        "Share of the KV cache that running sequences hold; 1 is all of it",
        _one(_usage),
    ),
    Row(
        "kv_cache_cells",
        "gauge",
        "Cells of the KV cache, a token each: busy, idle (kept for whoever begins alike) and free",
        _cells,
        ("state",),
    ),
    Row(
        "spec_decode_num_drafts_total",
        "counter",
        "Times that tokens were guessed ahead",
        _one(lambda m: m.engine.drafts),
    ),
    Row(
        "spec_decode_num_draft_tokens_total",
        "counter",
        "Tokens guessed ahead",
        _one(lambda m: m.engine.drafted_tokens),
    ),
    Row(
        "spec_decode_num_accepted_tokens_total",
        "counter",
        "Guessed tokens that the model would have chosen",
        _one(lambda m: m.engine.accepted_tokens),
    ),
    Row("embedding_steps_total", "counter", "Decodes of inputs to embed or rank", _one(lambda m: m.engine.embed_steps)),
    Row("embedding_inputs_total", "counter", "Inputs embedded or ranked", _one(lambda m: m.engine.embed_inputs)),
    Row(
        "embedding_tokens_total",
        "counter",
        "Tokens of inputs embedded or ranked",
        _one(lambda m: m.engine.embed_tokens),
    ),
    Row(
        "embedding_seconds_total",
        "counter",
        "Time spent on inputs to embed or rank",
        _one(lambda m: m.engine.embed_ns / 1e9),
    ),
    # Residency
    Row(
        "model_load_seconds",
        "histogram",
        "From the order to load a model until it was ready",
        _one(lambda m: _of(m.meters.loads)),
    ),
    Row(
        "model_memory_bytes",
        "gauge",
        "Memory of a loaded model by kind (weights, kv, compute) and device",
        _sizes,
        ("kind", "device"),
    ),
    Row(
        "model_resident_bytes",
        "gauge",
        "Memory of a loaded model by pool: host, or a device's own; of models that share a worker, at one of them",
        _resident,
        ("pool",),
    ),
    Row("model_loads_total", "counter", "Loads that were begun", _one(lambda m: m.happened.get("loading", 0))),
    Row(
        "model_departures_total",
        "counter",
        "Times that a model's worker had to go, by reason: evicted (for another model), expired (keep_alive), unloaded "
        "(by request), replaced (loaded anew in another way), died",
        _left,
        ("reason",),
    ),
    Row("worker_deaths_total", "counter", "Worker processes that ended unasked", _one(lambda m: m.meters.deaths)),
    Row(
        "request_resumes_total",
        "counter",
        "Times that a request went on in another worker after its own had died",
        _one(lambda m: m.meters.resumes),
    ),
    Row(
        "requests_quarantined_total",
        "counter",
        "Requests that workers died of, and that are not tried again",
        _one(lambda m: m.meters.quarantines),
    ),
)
"""Every metric that is told model by model."""


class Metrics:
    """The endpoint. Has a registry of its own: the library's is everybody's."""

    def __init__(self, service: Service, traffic: Traffic, unknown: Unknown) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Everything(service, traffic, unknown))

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (web.get("/metrics", self.metrics),)

    async def metrics(self, request: web.Request) -> web.Response:
        """All of it, as text or, for those who ask, as OpenMetrics."""
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})


class _Everything(Collector):
    """Reads what has been counted when somebody asks."""

    def __init__(self, service: Service, traffic: Traffic, unknown: Unknown) -> None:
        self._service = service
        self._traffic = traffic
        self._unknown = unknown

    def collect(self) -> Iterator[Metric]:
        yield _family("build_info", "gauge", "The version that answers", ("version",), [((__version__,), 1)])
        measured = self._service.measured()
        for row in TABLE:
            yield _family(
                row.name,
                row.kind,
                row.help,
                ("model", *row.labels),
                (((each.model, *labels), value) for each in measured for labels, value in row.read(each)),
            )
        traffic = self._traffic
        yield _family(
            "http_requests_total",
            "counter",
            "HTTP requests that ended; status 499 stands for clients that left, and for requests that were cancelled",
            ("method", "route", "status"),
            traffic.requests.items(),
        )
        yield _family(
            "http_request_duration_seconds",
            "histogram",
            "Length of HTTP requests, streams to their end",
            ("method", "route"),
            ((labels, _of(tally)) for labels, tally in traffic.seconds.items()),
        )
        yield _family(
            "api_unknown_fields_total",
            "counter",
            "Request fields that the endpoint doesn't know, and ignored; from the 257th kind on they count as other",
            ("route", "field"),
            self._unknown.counts.items(),
        )


def _family(
    name: str, kind: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], Value]]
) -> Metric:
    if kind == "histogram":
        histograms = HistogramMetricFamily(PREFIX + name, text, labels=labels)
        for given, value in values:
            if isinstance(value, Histogram) and value.spread.counts:
                histograms.add_metric(given, _buckets(value), value.spread.sum)
        return histograms
    family = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(PREFIX + name, text, labels=labels)
    for given, value in values:
        if not isinstance(value, Histogram):
            family.add_metric(given, value)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Bounds and how many values passed none of them, as the format has it: each count with all before it."""
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    return list(zip(bounds, accumulate(histogram.spread.counts), strict=True))
