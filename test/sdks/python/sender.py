"""Sends one trace by each exporter of OpenTelemetry's SDK for Python and prints what it sent: protocol, service, trace id."""

import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GRPCExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HTTPExporter
from opentelemetry.exporter.zipkin.json import ZipkinExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

EXPORTERS = {
    "otlp-grpc": lambda: GRPCExporter(endpoint=os.environ["OTLP_GRPC"], insecure=True),
    "otlp-http": lambda: HTTPExporter(endpoint=os.environ["OTLP_HTTP"] + "/v1/traces"),
    "zipkin": lambda: ZipkinExporter(endpoint=os.environ["ZIPKIN"] + "/api/v2/spans"),
}

for protocol, exporter in EXPORTERS.items():
    service = "python-" + protocol
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(exporter()))
    tracer = provider.get_tracer("sender", "1")
    with tracer.start_as_current_span("GET /checkout", kind=SpanKind.SERVER) as root:
        root.set_attribute("http.request.method", "GET")
        root.set_attribute("http.response.status_code", 503)
        with tracer.start_as_current_span("charge", kind=SpanKind.CLIENT) as call:
            call.set_attribute("peer.service", "payment")
            call.set_attribute("retried", True)
            call.add_event("retry", {"attempt": 2})
            call.set_status(Status(StatusCode.ERROR, "card refused"))
        with tracer.start_as_current_span("render"):
            pass
        trace_id = trace.format_trace_id(root.get_span_context().trace_id)
    provider.shutdown()
    print(protocol, service, trace_id, flush=True)
