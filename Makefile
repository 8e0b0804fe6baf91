# make test   install the real parts that tests need into .parts/, then run every test
# make check  what to run before a commit: format, vet, layers, short tests
# make run    build varve and start it on local disk

GO    ?= go
PARTS := .parts
BIN   := $(PARTS)/bin

# The real parts of tools/parts: programs that tests start beside varve. Each is built again when a pin moves.
GO_PARTS := prometheus promtool versitygw fake-gcs-server etcd telemetrygen
prometheus_PKG      := github.com/prometheus/prometheus/cmd/prometheus
promtool_PKG        := github.com/prometheus/prometheus/cmd/promtool
versitygw_PKG       := github.com/versity/versitygw/cmd/versitygw
fake-gcs-server_PKG := github.com/fsouza/fake-gcs-server
etcd_PKG            := go.etcd.io/etcd/server/v3
telemetrygen_PKG    := github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen

.PHONY: build run test unit integration soak bench check lint parts clean
.DEFAULT_GOAL := build

build: ## The varve binary at the root.
	$(GO) build -o varve .

define WELCOME

Varve listens on http://127.0.0.1:9009 and keeps its data in data/. Ctrl-C stops it; nothing that was acked is lost.

  Prometheus, in prometheus.yml:      remote_write:
                                      - url: http://127.0.0.1:9009/api/v1/push

  Grafana, data source Prometheus:    http://127.0.0.1:9009/prometheus

  A first query, once it is ready:    curl -s 'http://127.0.0.1:9009/prometheus/api/v1/query?query=process_resident_memory_bytes'

endef
export WELCOME

run: build ## One process on local disk, in data/, which stores its own metrics too.
	@echo "$$WELCOME"
	@./varve -data_dir=data -self.tenant=anonymous

test: parts unit integration ## Everything; CI runs this.

unit: $(BIN)/varve ## Every package but integration.
	$(GO) test -timeout=10m $$($(GO) list ./... | grep -v /integration)

integration: parts $(BIN)/varve $(BIN)/loadgen ## Real processes on 127.0.0.1.
	$(GO) test -timeout=15m -count=1 -parallel=6 ./integration/...  # waiting, not work, takes the time

soak: parts $(BIN)/varve $(BIN)/loadgen ## Half an hour of kill -9; VARVE_TEST_CYCLES changes how long.
	VARVE_TEST_CYCLES=$${VARVE_TEST_CYCLES:-600} $(GO) test -timeout=0 -count=1 -v -parallel=6 -run=TestKill9 ./integration

bench: $(BIN)/prometheus ## What writing costs; by hand, on a quiet machine. SUITE=write,memory chooses, BENCH_FLAGS adds flags.
	$(GO) run ./tools/bench -suite=$(or $(SUITE),all) -pictures=docs/img -prometheus=$(BIN)/prometheus $(BENCH_FLAGS)

check: ## Quick and without parts.
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "gofmt: $$unformatted"; exit 1; }
	$(GO) vet -stdmethods=false ./...  # chunkenc.Iterator has a Seek of its own
	$(GO) test -short ./...

lint: ## Slow to build the first time; not part of test.
	GOBIN=$(CURDIR)/$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
	$(BIN)/golangci-lint run ./...

parts: $(addprefix $(BIN)/,$(GO_PARTS)) $(PARTS)/npm/.installed ## Real parts for tests, from Go modules and npm.

$(addprefix $(BIN)/,$(GO_PARTS)): $(BIN)/%: tools/parts/go.mod tools/parts/go.sum
	@mkdir -p $(BIN)
	@echo "building part $* (a minute the first time)"
	@$(GO) build -C tools/parts -tags=remove_all_sd -ldflags='-s -w' -o $(CURDIR)/$@ $($*_PKG)
	@touch $@

$(PARTS)/npm/.installed: tools/parts/npm/package.json tools/parts/npm/package-lock.json
	@mkdir -p $(PARTS)/npm
	@cp $^ $(PARTS)/npm/
	@echo "installing parts from npm"
	@cd $(PARTS)/npm && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

.PHONY: $(BIN)/varve $(BIN)/loadgen # go build knows better what is stale
$(BIN)/varve:
	@$(GO) build -o $@ .
$(BIN)/loadgen:
	@$(GO) build -o $@ ./tools/loadgen

clean:
	rm -rf varve data $(PARTS)
