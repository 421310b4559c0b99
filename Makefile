# livenessd: set-up, build, tests. `make` alone tells the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

B := $(CURDIR)/build
ARCH := $(shell GOTOOLCHAIN=local go env GOARCH 2>/dev/null)
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LIBRARY := $(B)/libtensorflowlite_c.so

export GOTOOLCHAIN := local
# cgo's flags are per package: what go-tflite is compiled with can only come from the environment.
export CGO_CFLAGS := -g -O2 -I$(B)/tflite/include -I$(CURDIR)/tflite/include
# Test binaries lie elsewhere, so the library isn't beside them.
export LIVENESSD_TFLITE := $(LIBRARY)
export LIVENESSD_BIN := $(B)/livenessd
export LIVENESSD_PROMTOOL := $(B)/bin/promtool

BUILD_PACKAGES := gcc libc6-dev libturbojpeg0-dev npm
TEST_PACKAGES := mosquitto python3-jinja2
BROWSER_PACKAGES := chromium fonts-dejavu-core # 100 MB; without them the tests of the console's page are skipped
COMPILER_amd64 := gcc-x86-64-linux-gnu libc6-dev-amd64-cross
COMPILER_arm64 := gcc-aarch64-linux-gnu libc6-dev-arm64-cross
COMPILER_armhf := gcc-arm-linux-gnueabihf libc6-dev-armhf-cross
DEBIAN := $(shell dpkg --print-architecture 2>/dev/null)
LAB_PACKAGES := $(shell cat cross/lab/packages)

.PHONY: help
help: ## tell the targets
	@echo "livenessd: tells living faces from prints and screens at the camera, and publishes verdicts over MQTT"
	@sed -n 's/^\([a-z0-9 -]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 25

.PHONY: demo
demo: build ## set up, build, and show the main job: verdicts from a camera, or from a built-in clip
	@# With job control Ctrl-C reaches the demo alone, and make ends as it does: with 0.
	@if [ -t 0 ]; then set -m; fi; rc=0; $(B)/livenessd demo $(DEMO) || rc=$$?; exit $$rc

.PHONY: build
build: setup $(B)/tflite/fetched ## set up and build build/livenessd, which runs in place
	@install -m 644 -C $(B)/tflite/linux_$(ARCH)/libtensorflowlite_c.so $(LIBRARY)
	go build -trimpath -ldflags "-X main.version=$(VERSION)" -o $(B)/livenessd ./daemon/livenessd

.PHONY: setup
setup: ## install the Debian packages that building needs
	@case "$(ARCH)" in amd64|arm64|"") ;; *) echo "make: there is no TensorFlow Lite library to fetch for $(ARCH)" >&2; exit 69;; esac
	@cross/setup $(BUILD_PACKAGES)

$(B)/tflite/fetched: cross/tflite/fetch cross/tflite/sha256
	@cross/setup $(BUILD_PACKAGES)
	@cross/tflite/fetch $(B)/tflite
	@touch $@

.PHONY: test
test: build check unit nocgo lab ## set up and run all tests: linters, unit tests, those without cgo, the camera lab

.PHONY: check
check: build ## gofmt, go vet, staticcheck
	@bad=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$bad" ]; then echo "gofmt is missing on: $$bad" >&2; exit 1; fi
	go vet ./...
	go tool staticcheck ./...

$(LIVENESSD_PROMTOOL):
	@cross/promtool $@

.PHONY: unit
unit: build $(LIVENESSD_PROMTOOL) ## the Go tests, under the race detector
	@cross/setup $(TEST_PACKAGES)
	go test -race ./...

.PHONY: page
page: build ## the console's page in chromium, at a daemon; what it looks like is left in build/page
	@cross/setup $(BROWSER_PACKAGES)
	go test -count=1 -v ./daemon/console/browser

.PHONY: labpage
labpage: build ## the console's page on the lab's USB camera, through a forwarded port; what it looks like is left in build/page
	@cross/setup $(LAB_PACKAGES) $(BROWSER_PACKAGES)
	LIVENESSD_LAB=page go test -count=1 -v -timeout 15m -run '^TestPage$$' ./cross/lab

.PHONY: nocgo
nocgo: ## everything compiles without cgo, and the tests that need no C library pass
	CGO_ENABLED=0 go build ./...
	CGO_ENABLED=0 GOARCH=arm go build ./... # 32 bits
	CGO_ENABLED=0 GOARCH=arm go vet ./...
	CGO_ENABLED=0 go vet ./...
	CGO_ENABLED=0 go test $$(go list ./... | grep -v /mqtt/fleet$$) # which has no cgo in either case, and takes a minute

.PHONY: lab
lab: build ## the tests in a virtual machine with real camera drivers and a real broker
	@cross/setup $(LAB_PACKAGES)
	LIVENESSD_LAB=1 go test -count=1 -v -timeout 60m ./cross/lab/...

.PHONY: amd64 arm64 armhf
amd64 arm64 armhf: $(B)/tflite/fetched ## build build/ARCH/livenessd for that architecture, as packages carry it
ifeq ($(DEBIAN),)
	$(error make $@ needs Debian or one of its children)
endif
	@cross/setup $(if $(filter $@,$(DEBIAN)),gcc libc6-dev libturbojpeg0-dev,$(COMPILER_$@))
	@$(if $(filter $@,$(DEBIAN)),,[ -e $(B)/sysroot/$@/usr ] || cross/sysroot $@ $(B)/sysroot/$@)
	VERSION=$(VERSION) cross/compile $@ $(B)/$@/livenessd
	@if [ -e $(B)/tflite/linux_$@ ]; then install -m 644 -C $(B)/tflite/linux_$@/libtensorflowlite_c.so $(B)/$@/; fi

.PHONY: field
field: build ## what a technician meets, in that machine: all its faults, each found by doctor; kills, hangs, lost cameras, broken installations
	@cross/setup $(LAB_PACKAGES)
	LIVENESSD_LAB=all go test -count=1 -v -timeout 60m -run '^(TestLab|TestField|TestStuck|TestDelegate)$$/^doctor$$' ./cross/lab

.PHONY: cameras
cameras: build ## in that machine: all that can happen to a camera, four at once with one that fails, N cycles of unplugging (default 500) (half an hour)
	@cross/setup $(LAB_PACKAGES)
	LIVENESSD_LAB=cameras go test -count=1 -v -timeout 0 -run '^TestCameras$$' ./cross/lab -cycles $(or $(N),500)

.PHONY: packages
packages: amd64 arm64 armhf ## Debian packages for three architectures in build/packages, and what lintian says to them
	@cross/setup lintian
	@for arch in $^; do VERSION=$(VERSION) cross/package $$arch; done
	lintian --no-cfg --fail-on error --allow-root $(B)/packages/livenessd_*.deb

.PHONY: reproduced
reproduced: packages ## the packages a second time, from a clone and empty caches: the same bytes
	cross/reproduce amd64 arm64 armhf

.PHONY: installed
installed: amd64 ## the amd64 package on a machine of its own in the lab: install, power cut, upgrade, purge (five minutes)
	@cross/setup $(LAB_PACKAGES)
	@VERSION=$(VERSION) cross/package amd64
	LIVENESSD_PACKAGE=$$(ls $(B)/packages/livenessd_*_amd64.deb) go test -count=1 -v -timeout 0 -run '^TestPackage$$' ./cross/lab

.PHONY: emulated
emulated: amd64 arm64 armhf ## under qemu: the tests on arm64, the same verdicts as on amd64, what armhf says without a library (a quarter of an hour)
	@cross/setup qemu-user-static
	LIVENESSD_EMULATED=1 go test -count=1 -v -timeout 0 -run '^TestEmulated' ./cross/packages

.PHONY: foreign
foreign: packages ## the arm64 and armhf packages, each installed on a Debian of its processor, under qemu: what they do, say and leave behind (needs root; twenty minutes the first time, then two)
	@cross/setup mmdebstrap debian-archive-keyring iproute2 qemu-user-static
	LIVENESSD_FOREIGN=1 go test -count=1 -v -timeout 60m -run '^TestForeign' ./cross/packages

.PHONY: bench
bench: build ## the Go benchmarks, and what a frame costs
	go test -run '^$$' -bench . -benchmem ./...
	$(B)/livenessd bench

.PHONY: performance
performance: build ## the figures of docs/performance.md: what a frame, an empty room and run cost, and when a verdict is where (ten minutes)
	@cross/setup $(TEST_PACKAGES)
	$(B)/livenessd bench --frames 1200
	$(B)/livenessd bench --frames 1200 --empty
	go test -count=1 -v -timeout 20m -run '^(TestWhatRunTakes|TestFromCaptureToTheBus)$$' ./daemon/command -seconds 60 -comings 100

.PHONY: compare
compare: build ## livenessd beside Silent-Face-Anti-Spoofing's nets, from upstream's files in the folder REFERENCE (five minutes)
	@cross/setup python3-opencv
	cross/compare $(or $(REFERENCE),$(error name the folder with upstream's files: make compare REFERENCE=…)) $(B)/livenessd

.PHONY: fuzz
fuzz: build ## each fuzz target for FUZZTIME (default 30s)
	@for p in $$(go list ./...); do \
		for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
			echo "== $$p $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(or $(FUZZTIME),30s) -fuzzminimizetime 1x $$p; \
		done; \
	done

.PHONY: corrupt
corrupt: build ## N damaged models (default 10000) in child processes: probed, then scored with (half an hour)
	go test -count=1 -v -timeout 0 -run '^(TestCorruptedModels|TestScoreWithCorruptedModels)$$' ./models -corrupt $(or $(N),10000) -scored $(or $(N),10000)

.PHONY: torture
torture: ## N faults (default 300) of process, network and broker while verdicts are delivered (three minutes)
	@cross/setup $(TEST_PACKAGES)
	go test -count=1 -v -timeout 0 -run '^TestTorture$$' ./daemon/journal -faults $(or $(N),300)

NATS := v2.15.2
.PHONY: nats
nats: $(B)/bin/nats-server ## build nats-server, which a test of mqtt/fleet and make fleet start as a cluster

$(B)/bin/nats-server:
	GOBIN=$(B)/bin go install github.com/nats-io/nats-server/v2@$(NATS)

.PHONY: fleet
fleet: $(B)/bin/nats-server ## DEVICES simulated devices (default 2000) at mosquitto, and at three nodes of NATS, each restarted or killed meanwhile (ten minutes)
	@cross/setup $(TEST_PACKAGES)
	go build -o $(B)/fleet ./mqtt/fleet
	$(B)/fleet -mosquitto -devices $(or $(DEVICES),2000) -collectors 2 -speed 10 -ramp 20s -for 2m -fault stop -unordered # counted, see docs/fleet.md
	$(B)/fleet -nats $(B)/bin/nats-server -devices $(or $(DEVICES),2000) -speed 3 -ramp 1m -for 90s -fault kill -down 20s -subscribe-qos 0 -unordered

.PHONY: soak
soak: build ## HOURS simulated hours (default 24) of lost cameras, brokers and configurations, and whether run holds ever more (half an hour)
	@cross/setup $(TEST_PACKAGES)
	go test -count=1 -v -timeout 0 -run '^TestSoak$$' ./daemon/command -hours $(or $(HOURS),24)

.PHONY: clean
clean: ## remove build/
	rm -rf $(B)
