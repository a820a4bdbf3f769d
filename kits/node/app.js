// A service that answers which trace headers it got, and calls the next one (NEXT_URL) if there is one: GET /call/http and /call/fetch are
// served by Express, GET /plain/http and /plain/fetch by node:http.
import http from "node:http";
import express from "express";
import { keepHeaders, pick } from "./headers.js";
import { outgoing, shutdownTracing } from "./tracing.js";

const { HOST = "0.0.0.0", PORT = "8080", NEXT_URL, OTEL_SERVICE_NAME = "node-kit" } = process.env;

const clients = {
  fetch: async (url) => (await fetch(url, { headers: outgoing() })).json(),
  http: (url) =>
    new Promise((resolve, reject) => {
      const request = http.get(url, { headers: outgoing() }, async (response) => {
        let text = "";
        for await (const part of response) text += part;
        resolve(JSON.parse(text));
      });
      request.on("error", reject);
    }),
};

async function answer(request, path, client) {
  const next = NEXT_URL ? await clients[client](NEXT_URL + path) : null;
  return { service: OTEL_SERVICE_NAME, headers: pick(request.headers), next };
}

const app = express();
app.use(keepHeaders());
app.get("/health", (_request, response) => response.send("ok"));
for (const client of Object.keys(clients)) {
  app.get(`/call/${client}`, async (request, response) => response.json(await answer(request, `/call/${client}`, client)));
}

const plain = keepHeaders(async (request, response) => {
  try {
    const client = request.url === "/plain/http" ? "http" : "fetch";
    response.setHeader("content-type", "application/json").end(JSON.stringify(await answer(request, request.url, client)));
  } catch (e) {
    response.writeHead(502).end(String(e));
  }
});

const server = http.createServer((request, response) => (request.url.startsWith("/plain/") ? plain : app)(request, response));
server.listen(Number(PORT), HOST);

process.once("SIGTERM", () => {
  server.close(async () => {
    await shutdownTracing();
    process.exit(0);
  });
  server.closeIdleConnections();
});
