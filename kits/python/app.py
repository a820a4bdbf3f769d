"""A service that answers which trace headers it got, and calls the next one if there is one: GET /call/httpx, /call/requests, /call/aiohttp.

    NEXT_URL=http://b:8080 python serve.py
"""

import logging
import os
from contextlib import asynccontextmanager

import aiohttp
import httpx
import requests
from fastapi import FastAPI, Request

from headers import NAMES
from tracing import configure_tracing, instrument_clients, instrument_fastapi, outgoing, shutdown_tracing

logging.basicConfig(level=logging.INFO)

SERVICE = os.getenv("OTEL_SERVICE_NAME", "python-kit")
NEXT = os.getenv("NEXT_URL", "")

configure_tracing(SERVICE, service_version="1.0.0", environment="dev")
instrument_clients()


@asynccontextmanager
async def lifespan(_: FastAPI):
    yield
    shutdown_tracing()


app = FastAPI(lifespan=lifespan)
instrument_fastapi(app)


def answer(request: Request, after):
    return {"service": SERVICE, "headers": {n: v for n, v in request.headers.items() if n in NAMES}, "next": after}


@app.get("/health")
def health():
    return "ok"


@app.get("/call/httpx")
async def with_httpx(request: Request):
    if not NEXT:
        return answer(request, None)
    async with httpx.AsyncClient() as client:
        return answer(request, (await client.get(NEXT + "/call/httpx", headers=outgoing())).json())


@app.get("/call/requests")
def with_requests(request: Request):
    if not NEXT:
        return answer(request, None)
    return answer(request, requests.get(NEXT + "/call/requests", headers=outgoing(), timeout=10).json())


@app.get("/call/aiohttp")
async def with_aiohttp(request: Request):
    if not NEXT:
        return answer(request, None)
    async with aiohttp.ClientSession() as session, session.get(NEXT + "/call/aiohttp", headers=outgoing()) as response:
        return answer(request, await response.json())
