# Every goal that people and CI run. `make` prints them.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# ugorji/go (27 s of compiling) is only gin's msgpack binding, which nothing here uses.
export GOFLAGS := -tags=nomsgpack -buildvcs=false
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
STATICCHECK := build/tools/staticcheck-v0.8.2
RELAYPROXY  := build/tools/relayproxy-v1.40.0
WEB         := api/web
BINARY      := bin/perennial
SDK         := api/testdata/sdk
# Packages whose code runs on several goroutines: they are tested once more under the race detector.
CONCURRENT  := ./features/lake/ ./api/ ./experiments/...

.PHONY: help setup build warm web demo test check vet fmt lint unit race web-test e2e demo-data notebooks sdk sdk-fuzz cluster-up cluster-down test-cluster bench-cluster fuzz crash readers bench bench-ingest bench-assign bench-models bench-features golden clean

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## check what a build needs; install what Debian has, name the rest
	@.ci/setup build

build: setup ## bin/perennial with the page inside
	@$(MAKE) --no-print-directory -j2 warm web
	go build -ldflags "-s -w -X main.version=$(VERSION)" -o $(BINARY) ./cmd/perennial

# The slow dependencies (DuckDB, SQLite, Pebble) compile while npm builds the page.
warm:
	@go build ./features/... ./experiments/... ./models/... github.com/gin-gonic/gin github.com/danielgtaylor/huma/v2

web: $(WEB)/dist/index.html ## the page: npm ci, npm run build

$(WEB)/node_modules/.installed: $(WEB)/package-lock.json
	cd $(WEB) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(WEB)/dist/index.html: $(WEB)/node_modules/.installed $(shell find $(WEB)/src $(WEB)/public $(WEB)/index.html $(WEB)/vite.config.ts -type f 2>/dev/null)
	cd $(WEB) && npm run build --silent
	@touch $@ $(WEB)/dist/.keep

demo: build ## load real shop data, train, score, experiment, and serve; prints links that sign in
	@$(BINARY) demo --data data/demo

test: ## everything, from a clean clone
	@.ci/setup test
	@$(MAKE) --no-print-directory build
	@$(MAKE) --no-print-directory vet fmt lint
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory race
	@$(MAKE) --no-print-directory sdk
	@$(MAKE) --no-print-directory web-test
	@$(MAKE) --no-print-directory e2e
	@$(MAKE) --no-print-directory demo-data notebooks
	@echo "make test: everything passed"

check: vet fmt lint unit ## fast: vet, format, lint, unit tests

vet:
	go vet ./...

fmt:
	@bad=$$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 gofmt -l); \
	if [ -n "$$bad" ]; then echo "gofmt wants:"; echo "$$bad"; exit 1; fi

lint: $(STATICCHECK)
	$(STATICCHECK) ./...

$(STATICCHECK):
	@mkdir -p build/tools
	GOFLAGS= GOBIN=$(CURDIR)/build/tools go install honnef.co/go/tools/cmd/staticcheck@$(patsubst build/tools/staticcheck-%,%,$@)
	@mv build/tools/staticcheck $@

unit: build/sdk/node/.installed
	go test -timeout 15m ./...

race: ## the concurrent packages under the race detector
	go test -race -timeout 15m $(CONCURRENT)

sdk: build/sdk/node/.installed build/sdk/python/.installed ## client SDKs of Node, Python and Go, unmodified, against the binary
	python3 $(SDK)/run.py $(BINARY) build/sdk

build/sdk/node/.installed: $(SDK)/node/package.json $(SDK)/node/package-lock.json
	@mkdir -p build/sdk/node && cp $(SDK)/node/package.json $(SDK)/node/package-lock.json build/sdk/node
	cd build/sdk/node && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

build/sdk/python/.installed: $(SDK)/python/requirements.txt
	@rm -rf build/sdk/python && mkdir -p build/sdk
	python3 -m venv build/sdk/python
	build/sdk/python/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

web-test: $(WEB)/node_modules/.installed ## types and tests of the page
	cd $(WEB) && npm run typecheck --silent && npm test --silent

e2e: ## a headless browser clicks from the list to a decision, in both languages
	$(WEB)/e2e/run.sh $(BINARY)

demo-data: ## the demo once, without staying, in build/demo
	rm -rf build/demo
	$(BINARY) demo --no-serve --data build/demo

notebooks: build/venv/.installed ## run every notebook headless against a server on the demo's data
	@[ -f build/demo/demo.json ] || $(MAKE) --no-print-directory demo-data
	build/venv/bin/python notebooks/run.py $(BINARY) build/demo

build/venv/.installed: notebooks/requirements.txt
	@rm -rf build/venv && mkdir -p build
	python3 -m venv build/venv
	build/venv/bin/pip install --quiet --disable-pip-version-check -r notebooks/requirements.txt
	@touch $@

PAIRS := 1000000
sdk-fuzz: build/sdk/node/.installed ## PAIRS (1,000,000) random (experiment, unit) pairs through the Go and the Node SDK of Unleash
	go test -count 1 -timeout 60m -v -run "TestSDKsAgree|TestNodeSDK" ./experiments/unleash -pairs $(PAIRS) | grep -v warning

CLUSTER := features/warehouse/testdata/cluster/cluster.sh
cluster-up: ## a Trino coordinator and two workers on this machine (Maven, a JDK >= 24, 4 GB); build/cluster/cluster.env says where
	@$(CLUSTER) up

cluster-down: ## end them
	@$(CLUSTER) down

test-cluster: ## the Trino engine on a cluster of its own: equal to DuckDB, workers killed, published days; starts it and ends it
	@.ci/setup cluster
	@[ -x $(BINARY) ] || $(MAKE) --no-print-directory build
	@mkdir -p build && go build -o build/clustertest ./features/warehouse/clustertest
	@trap '$(CLUSTER) down' EXIT; $(CLUSTER) up && build/clustertest -binary $(BINARY)

EVENTS := 10000000
bench-cluster: ## DuckDB and Trino side by side on EVENTS (10,000,000) events, for features/warehouse/README.md
	@.ci/setup cluster
	@mkdir -p build && go build -o build/clustertest ./features/warehouse/clustertest
	@trap '$(CLUSTER) down' EXIT; TIER=4 HEAP=1500M $(CLUSTER) up && build/clustertest -bench $(EVENTS)

FUZZTIME := 20s
fuzz: ## each fuzz target for FUZZTIME (20s)
	@grep -rlE '^func Fuzz' --include='*_test.go' . | while read -r file; do \
	  for target in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/p' "$$file"); do \
	    echo "fuzz $$(dirname "$$file") $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")"; \
	  done; done

UNITS := 10000000
COUNT := 6
bench: ## benchmarks, COUNT (6) times, for benchstat
	go test -run '^$$' -bench . -benchmem -count $(COUNT) $$(grep -rlE '^func Benchmark' --include='*_test.go' . | xargs -n 1 dirname | sort -u)

bench-results: ## an experiment over 10 million exposures and 50 million outcome events, measured once (UNITS of other sizes)
	go test -run '^$$' -bench '^BenchmarkMeasure$$' -benchtime 1x -timeout 60m ./features/warehouse -args -units $(UNITS)

bench-assign: build $(RELAYPROXY) ## server CPU per evaluation: we, a net/http floor and GO Feature Flag in turns; then the evaluator alone
	@.ci/setup bench
	python3 api/testdata/bench_assign.py $(BINARY) --peer $(RELAYPROXY)
	go test -run '^$$' -bench 'BenchmarkAssign$$|BenchmarkAssignAll500|BenchmarkCompile500|BenchmarkBucket' -benchmem ./experiments/
	go test -run '^$$' -bench 'BenchmarkHandler|BenchmarkOverlay' -benchmem ./api/

# A module of its own, so that the peer's dependencies stay out of ours.
$(RELAYPROXY):
	@mkdir -p build/tools/relayproxy
	cd build/tools/relayproxy && printf 'module peer\n\ngo 1.26\n\nrequire github.com/thomaspoignant/go-feature-flag $(patsubst build/tools/relayproxy-%,%,$@)\n' > go.mod && \
	  GOFLAGS=-mod=mod go build -o peer github.com/thomaspoignant/go-feature-flag/cmd/relayproxy
	@mv build/tools/relayproxy/peer $@

KILLS := 8
crash: ## kill -9 a server KILLS (8) times at each of the 16 steps of the lake's life, under load with resends
	go test ./features/lake -run Kill9 -v -kills $(KILLS) -timeout 1h

QUERIES := 10000
readers: ## QUERIES (10000) queries of another process beside compaction and collection
	go test ./features/lake -run ReadersDuringCompaction -v -queries $(QUERIES) -timeout 1h

BATCHES := 30000
bench-ingest: ## durable ingest over HTTP: BATCHES (30000) batches of 100 orders into a real server; events/s and its processor time an event
	go test ./cmd/perennial -run '^$$' -bench Ingest -benchtime $(BATCHES)x

bench-models: build/peers/.installed ## every bar of the models: boosting against LightGBM, XGBoost and scikit-learn, buy-till-you-die, a night of a million users
	@failed=0; for what in "--rows 50000" "--rows 200000 --tables 3" "--rows 1000000" "--rows --rest"; do \
	  build/peers/bin/python models/gbdt/testdata/bench_peers.py $$what || failed=1; done; exit $$failed

build/peers/.installed:
	@rm -rf build/peers && mkdir -p build
	python3 -m venv build/peers
	build/peers/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 scikit-learn==1.9.1 lightgbm==4.7.0 xgboost==3.2.0
	@touch $@

EVENTS := 10000000
bench-features: build/pandas/.installed ## features from raw events and from tiles, a night, a training set, and pandas (EVENTS=10000000)
	go test -c -o build/warehouse.test ./features/warehouse
	cd features/warehouse && for b in History RawByHand RawCompiled TilesFirst TilesNight TilesScore TilesScore45 Training; do \
	  $(CURDIR)/build/warehouse.test -test.run '^$$' -test.bench "^Benchmark$$b\$$" -test.benchtime 1x -test.timeout 3h -events $(EVENTS) -history $(CURDIR)/build/history-$(EVENTS) | grep -E '^Benchmark|FAIL'; done
	for as in "" --tuned; do build/pandas/bin/python features/warehouse/testdata/bench_pandas.py build/history-$(EVENTS) $$as; done

build/pandas/.installed:
	@rm -rf build/pandas && mkdir -p build
	python3 -m venv build/pandas
	build/pandas/bin/pip install --quiet --disable-pip-version-check pandas==3.1.1 pyarrow==26.0.1 numpy==2.4.6
	@touch $@

golden: ## rewrite golden texts; read the difference before you commit it
	@packages=$$(grep -rlE 'flag\.Bool\("rewrite"' --include='*_test.go' . | xargs -r -n 1 dirname | sort -u); \
	for package in $$packages; do go test "$$package" -rewrite; done; git --no-pager diff --stat -- '*testdata*'

clean: ## remove what was built; data stays
	rm -rf bin build $(WEB)/node_modules
	find $(WEB)/dist -mindepth 1 ! -name .keep -delete 2>/dev/null || true
