# What a person does with the repository; every target installs what it needs.
.PHONY: help install-deps demo test bench fuzz lint generate cluster cluster-down image deploy undeploy clean build

SCRIPTS = $(addprefix tests/,install-deps in-node lib.sh cases.sh e2e rows record-lib.sh record record-denials record-v2 record-servers aarch64 differential operator operator-lib.sh operator-pods.sh operator-e2e operator-cases operator-stored operator-use operator-scale operator-install image demo bench bench-operator fuzz/run) .ci/run
CLUSTER_SCRIPTS = $(addprefix tests/cluster/,build up down kubectl enter component supervise smoke)
PACKAGING_SCRIPTS = $(addprefix packaging/,deploy undeploy image/build image/pack)

help:
	@echo "demo          a container under the profile that its annotation selects; another recorded"
	@echo "test          all tests: crates, then real containers under crun and runc"
	@echo "bench         the performance table"
	@echo "fuzz          each parser's fuzz target, FUZZ_SECONDS of them (60)"
	@echo "lint          format, clippy, docs, generated files, shell scripts, licences"
	@echo "generate      the generated tables and resource definitions"
	@echo "cluster       a real one-node cluster; cluster-down ends it"
	@echo "image         the operator's image as an OCI archive, target/image/portcullis-operator.tar"
	@echo "deploy        install the operator: into the cluster of 'make cluster', or with IMAGE=NAME:TAG into"
	@echo "              the one that kubectl uses (CONTEXT=NAME another)"
	@echo "undeploy      take it out of the cluster of 'make cluster', or of CONTEXT=NAME"
	@echo "clean         remove what was built"

build:
	tests/install-deps
	cargo build --release -p portcullis-hook

demo: build
	cargo build --release -p portcullis-operator
	tests/in-node tests/demo

test: build
	cargo test --workspace
	tests/in-node tests/e2e
	tests/in-node tests/rows
	tests/in-node tests/record
	tests/in-node tests/record-denials
	tests/in-node tests/record-v2
	tests/aarch64
	tests/in-node tests/record-servers
	tests/in-node tests/differential
	cargo build -p portcullis-operator --bins --examples
	tests/operator
	tests/operator-e2e
	tests/operator-cases
	tests/operator-stored
	tests/operator-use
	tests/operator-scale
	$(MAKE) image
	tests/in-node tests/image
	tests/operator-install
	tests/fuzz/run 15

bench: build
	cargo build --release -p portcullis-hook --example bench
	tests/in-node tests/bench
	cargo bench -p portcullis-hook --bench recorder
	cargo build --release -p portcullis-operator --bins --examples
	tests/bench-operator

FUZZ_SECONDS = 60

fuzz:
	tests/install-deps
	tests/fuzz/run $(FUZZ_SECONDS)

install-deps:
	tests/install-deps

lint:
	tests/install-deps
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	cargo run --quiet -p portcullis-profile --example generate-tables -- --check
	shellcheck -x $(SCRIPTS)
	shellcheck -x -P SCRIPTDIR $(CLUSTER_SCRIPTS) $(PACKAGING_SCRIPTS)
	cargo deny --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-deny
	cargo deny check bans licenses sources
	@echo "NOT CHECKED: advisories, whose database may not be reachable; cargo deny check advisories" >&2

generate:
	cargo run --quiet -p portcullis-profile --example generate-tables
	cargo run --quiet -p portcullis-operator -- crds >packaging/crds/portcullis.yaml.new
	mv packaging/crds/portcullis.yaml.new packaging/crds/portcullis.yaml

cluster:
	tests/cluster/up

cluster-down:
	tests/cluster/down

image:
	tests/install-deps
	cargo build --release -p portcullis-operator
	packaging/image/build

# Without IMAGE it is never a real cluster that is changed.
ifdef IMAGE
deploy:
	packaging/deploy --image "$(IMAGE)" $(if $(CONTEXT),--context "$(CONTEXT)")
else
deploy: image
	packaging/deploy --test-cluster portcullis
endif

undeploy:
	packaging/undeploy $(if $(CONTEXT),--context "$(CONTEXT)",--test-cluster portcullis)

clean:
	cargo clean
	rm -rf tests/fuzz/target tests/fuzz/corpus tests/fuzz/artifacts
