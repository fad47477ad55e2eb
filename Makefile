# `make` alone says what there is.

CARGO ?= cargo
PREFIX ?= $(HOME)/.local

.PHONY: help demo test lint bench bench-audit fuzz test-deps install

help:
	@echo "make demo       build an example application into an image and run it"
	@echo "make test       install what the tests need, then check and test everything"
	@echo "make lint       formatting and lints only"
	@echo "make bench      measurements: what a start costs"
	@echo "make bench-audit  what an audit of a 250 MB image costs"
	@echo "make fuzz       run all fuzz targets, FUZZ_SECONDS (600) each"
	@echo "make test-deps  install what the tests need (Debian packages, two unprivileged users)"
	@echo "make install    install warpdrive into PREFIX ($(PREFIX))"

demo:
	scripts/demo

test: test-deps lint
	scripts/run-tests

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

bench:
	$(CARGO) bench --locked --bench start

bench-audit:
	$(CARGO) build --release --locked --bin warpdrive
	benches/audit $${CARGO_TARGET_DIR:-target}/release/warpdrive

fuzz:
	scripts/fuzz

test-deps:
	scripts/install-test-dependencies

install:
	$(CARGO) install --locked --path . --root $(PREFIX)
