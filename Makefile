# `make` alone says what there is.

CARGO ?= cargo
PREFIX ?= $(HOME)/.local
BENCH_PROGRAM = $(or $(BENCH_WARPDRIVE),target/release/warpdrive)
BENCH_STATIC = $(or $(BENCH_WARPDRIVE_STATIC),target/x86_64-unknown-linux-musl/release/warpdrive)

.PHONY: help demo test lint bench fuzz test-deps install dist try-dist docs

help:
	@echo "make demo       build an example application into an image and run it"
	@echo "make test       install what the tests need, then check and test everything"
	@echo "make lint       formatting and lints only"
	@echo "make bench      measurements, against BuildKit and buildah too: benches/README.md"
	@echo "make fuzz       run all fuzz targets, FUZZ_SECONDS (600) each"
	@echo "make test-deps  install what the tests need (Debian packages, two unprivileged users)"
	@echo "make install    install warpdrive into PREFIX ($(PREFIX))"
	@echo "make docs       the site of the documentation, into docs/book; links are checked"
	@echo "make dist       make what people install, into dist/: executable, wheel, Debian package"
	@echo "make try-dist   install what is in dist/ in clean Debian roots, and play the first minutes there"

demo:
	scripts/demo

test: test-deps lint
	scripts/run-tests

lint:
	scripts/check-commit-subjects
	scripts/docs --check
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

# See benches/README.md for the variables that it takes.
bench:
ifndef BENCH_WARPDRIVE
	$(CARGO) build --locked --release
endif
ifndef BENCH_WARPDRIVE_STATIC
	$(CARGO) build --locked --release --bin warpdrive --target x86_64-unknown-linux-musl
endif
	python3 benches/compare $(BENCH_PROGRAM)
	python3 benches/fresh-machine $(BENCH_PROGRAM)
	python3 benches/compare/bounds.py $(BENCH_PROGRAM)
	python3 benches/compare/profile.py $(BENCH_PROGRAM)
	benches/foreign-builder $(BENCH_PROGRAM)
	benches/audit $(BENCH_PROGRAM)
	benches/registry $(BENCH_PROGRAM)
	benches/dev $(BENCH_PROGRAM)
	benches/startup $(BENCH_STATIC) $(BENCH_PROGRAM)
	$(CARGO) bench --locked --bench start

fuzz:
	scripts/fuzz

test-deps:
	scripts/install-test-dependencies

install:
	$(CARGO) install --locked --path . --root $(PREFIX)

dist:
	scripts/dist

try-dist:
	scripts/try-dist dist bookworm trixie bullseye
	scripts/try-first-minutes dist bookworm trixie

docs:
	scripts/docs
