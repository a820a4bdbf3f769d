"""Hands the headers of a trace on from the request that came in to the requests it causes. Needs no OpenTelemetry: copy this file alone
where an application is to keep the mesh's traces together and send no spans of its own.

    app.add_middleware(ForwardHeaders)
    httpx.get(url, headers=outgoing())       # requests and aiohttp take the same argument
"""

from contextvars import ContextVar

# What Envoy reads: Zipkin's B3 in both forms, the W3C's headers, and the id that its sampling goes by.
NAMES = (
    "x-request-id",
    "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags",
    "b3",
    "traceparent", "tracestate", "baggage",
)  # fmt: skip

_came: ContextVar[dict[str, str]] = ContextVar("trace_headers", default={})


def outgoing() -> dict[str, str]:
    """The headers for a request that is caused by the one being served; empty outside of one."""
    return dict(_came.get())


class ForwardHeaders:
    """ASGI middleware that remembers the headers for outgoing()."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        came = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        token = _came.set({name: came[name] for name in NAMES if name in came})
        try:
            await self.app(scope, receive, send)
        finally:
            _came.reset(token)
