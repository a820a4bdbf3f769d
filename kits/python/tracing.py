"""Spans of a FastAPI service and of its httpx, requests and aiohttp calls, beside an Envoy sidecar. Copy it with propagator.py and headers.py.

Without OpenTelemetry's packages, or switched off, the service runs all the same and hands the trace headers on.

| variable | default | |
| --- | --- | --- |
| OTEL_ENABLED | true | false: no spans, headers only (OTEL_SDK_DISABLED=true does the same) |
| OTEL_EXPORTER_OTLP_ENDPOINT | http://localhost:4317 | OTLP over gRPC; host:port is taken as http:// |
| OTEL_SAMPLING_RATE | 1.0 | of traces that begin here; the caller's decision comes first |
| OTEL_PROPAGATORS | b3,tracecontext,baggage | families of headers, see propagator.py |
| OTEL_EXCLUDED_URLS | health,ready,metrics | regular expressions of URLs that make no span |
| OTEL_BSP_SCHEDULE_DELAY, _MAX_QUEUE_SIZE, _MAX_EXPORT_BATCH_SIZE | 1000, 2048, 512 | ms and spans |
| OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME | | win over the arguments of configure_tracing |
"""

import importlib
import logging
import os

from headers import ForwardHeaders, outgoing as forwarded

log = logging.getLogger(__name__)

_CLIENTS = (
    ("opentelemetry.instrumentation.httpx", "HTTPXClientInstrumentor"),
    ("opentelemetry.instrumentation.requests", "RequestsInstrumentor"),
    ("opentelemetry.instrumentation.aiohttp_client", "AioHttpClientInstrumentor"),
)

_provider = None  # None: headers only


def _enabled() -> bool:
    return os.getenv("OTEL_ENABLED", "true").lower() == "true" and os.getenv("OTEL_SDK_DISABLED", "false").lower() != "true"


def _sampling_rate() -> float:
    text = os.getenv("OTEL_SAMPLING_RATE", "1.0")
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1:
        raise ValueError(f"OTEL_SAMPLING_RATE={text}: use a number from 0 to 1 (0.01 is one trace in a hundred)")
    return rate


def configure_tracing(service_name: str, service_version: str, environment: str = "dev") -> bool:
    """Sets the SDK up, once a process; after the fork where a server forks workers. False: headers only, and the log says why."""
    global _provider
    if not _enabled():
        log.info("tracing is switched off: trace headers are handed on")
        return False
    try:
        from opentelemetry import propagate, trace
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor  # noqa: F401 - without it no request has a span
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        from propagator import MeshPropagator
    except ImportError as e:
        log.warning("tracing is off, trace headers are handed on: %s", e)
        return False

    resource = Resource.create({
        "service.name": service_name,
        "service.version": service_version,
        "deployment.environment.name": environment,
    }).merge(OTELResourceDetector().detect())
    endpoint = os.getenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317")
    if "://" not in endpoint:
        endpoint = "http://" + endpoint
    propagate.set_global_textmap(MeshPropagator(os.getenv("OTEL_PROPAGATORS", "b3,tracecontext,baggage")))
    # Parent-based: a ratio alone would contradict the gateway's decision and cut traces.
    _provider = TracerProvider(resource=resource, sampler=ParentBased(TraceIdRatioBased(_sampling_rate())))
    _provider.add_span_processor(BatchSpanProcessor(
        OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://")),
        schedule_delay_millis=float(os.getenv("OTEL_BSP_SCHEDULE_DELAY", "1000")),  # the SDK reads the other two itself
    ))
    trace.set_tracer_provider(_provider)
    log.info("tracing is on: %s to %s", service_name, endpoint)
    return True


def instrument_fastapi(app) -> None:
    """A server span for every request, or the forwarding of headers. Call it before the first request."""
    if _provider is None:
        app.add_middleware(ForwardHeaders)
        return
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    FastAPIInstrumentor.instrument_app(
        app, excluded_urls=os.getenv("OTEL_EXCLUDED_URLS", "health,ready,metrics"), exclude_spans=["receive", "send"]
    )


def instrument_clients() -> None:
    """A client span for every call by httpx, requests and aiohttp, as far as their instrumentation is installed."""
    if _provider is None:
        return
    for module, name in _CLIENTS:
        try:
            getattr(importlib.import_module(module), name)().instrument()
        except ImportError as e:
            log.info("no client spans of %s: %s", module.rsplit(".", 1)[1], e)


def outgoing() -> dict[str, str]:
    """Headers to give every call, with or without the SDK; an instrumented client puts its own span in their place."""
    if _provider is None:
        return forwarded()
    from opentelemetry import propagate

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


def shutdown_tracing() -> None:
    """Sends what is still queued. Call it when the last request is answered: FastAPI's lifespan is the place."""
    if _provider is not None:
        _provider.shutdown()
