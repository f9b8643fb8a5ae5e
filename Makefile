# What a person does with the repository; every target installs what it needs.
.PHONY: help demo test bench lint generate cluster cluster-down clean build

SCRIPTS = tests/install-deps tests/in-node tests/lib.sh tests/e2e tests/differential tests/operator tests/demo tests/bench .ci/run

help:
	@echo "demo          a real container under the profile that its annotation selects"
	@echo "test          all tests: crates, then real containers under crun and runc"
	@echo "bench         the performance table"
	@echo "lint          format, clippy, docs, generated files, shell scripts, licences"
	@echo "generate      the generated tables and resource definitions"
	@echo "cluster       a real one-node cluster; cluster-down ends it"
	@echo "clean         remove what was built"

build:
	tests/install-deps
	cargo build --release -p portcullis-hook

demo: build
	tests/in-node tests/demo

test: build
	cargo test --workspace
	tests/in-node tests/e2e
	tests/in-node tests/differential
	cargo build -p portcullis-operator
	tests/operator

bench: build
	cargo build --release -p portcullis-hook --example bench
	tests/in-node tests/bench

lint:
	tests/install-deps
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	cargo run --quiet -p portcullis-profile --example generate-tables -- --check
	shellcheck -x $(SCRIPTS)
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check bans licenses sources; \
	else echo "SKIPPED: cargo deny (cargo install --locked cargo-deny)" >&2; fi

generate:
	cargo run --quiet -p portcullis-profile --example generate-tables
	cargo run --quiet -p portcullis-operator -- crds >packaging/crds/portcullis.yaml.new
	mv packaging/crds/portcullis.yaml.new packaging/crds/portcullis.yaml

cluster:
	tests/cluster/up

cluster-down:
	tests/cluster/down

clean:
	cargo clean
