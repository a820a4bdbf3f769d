"""Trace headers beside an Envoy sidecar, for OpenTelemetry's SDK.

OTEL_PROPAGATORS=b3,tracecontext,baggage with the SDK's own propagators keeps one trace, but not its order: an application then sends
both families, a sidecar renews only the one that its tracer speaks (Zipkin: x-b3-*; OpenTelemetry: traceparent), and the next
application may read the other, which still names the caller's span. MeshPropagator reads both and answers in the family it was asked in.
"""

from opentelemetry import context as otel_context
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.b3 import B3MultiFormat
from opentelemetry.propagators.textmap import TextMapPropagator, default_getter, default_setter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import headers

_CAME = otel_context.create_key("mesh-headers")
# b3 stands for the family: both forms are read, the b3 header first as Envoy does, and x-b3-* is sent.
_KNOWN = {
    "b3": ("x-b3-traceid", B3MultiFormat),
    "b3multi": ("x-b3-traceid", B3MultiFormat),
    "tracecontext": ("traceparent", TraceContextTextMapPropagator),
    "baggage": ("baggage", W3CBaggagePropagator),
}


class MeshPropagator(TextMapPropagator):
    """Reads the families of OTEL_PROPAGATORS (where several came, the last one named wins, as in the SDK) and sends those that came with
    the request; all of them where the trace begins here. Hands x-request-id on, by which Envoy samples."""

    def __init__(self, names: str):
        wanted = [name.strip() for name in names.split(",") if name.strip()]
        if unknown := [name for name in wanted if name not in _KNOWN]:
            raise ValueError(f"OTEL_PROPAGATORS={names}: {unknown[0]!r} is not known here: use {', '.join(_KNOWN)}")
        self._parts = [(_KNOWN[name][0], _KNOWN[name][1]()) for name in wanted]

    def extract(self, carrier, context=None, getter=default_getter):
        context = otel_context.Context() if context is None else context
        came = {name: ",".join(values) for name in headers.NAMES if (values := getter.get(carrier, name))}
        for _, part in self._parts:
            context = part.extract(came, context)
        if "b3" in came:
            came["x-b3-traceid"] = came["b3"]  # the family came, in its other form
        return otel_context.set_value(_CAME, came, context)

    def inject(self, carrier, context=None, setter=default_setter):
        came = otel_context.get_value(_CAME, context) or {}
        begins = "x-b3-traceid" not in came and "traceparent" not in came
        for mark, part in self._parts:
            if begins or mark in came or mark == "baggage":
                part.inject(carrier, context, setter)
        if "x-request-id" in came:
            setter.set(carrier, "x-request-id", came["x-request-id"])

    @property
    def fields(self):
        return set(headers.NAMES)
