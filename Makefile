# Everyday tasks. Each target installs what it needs.
.PHONY: help install-deps demo test bench fuzz lint docs generate cluster cluster-down image rpm deb deploy undeploy clean build

# Tools of fixed versions, and the pinned compiler under whichever name it is installed.
CARGO_DENY = 0.20.2
CARGO_MACHETE = 0.9.2
MDBOOK = 0.5.4
HYPERLINK = 0.3.2
export RUSTUP_TOOLCHAIN := $(shell tests/toolchain)
# $(call tool,NAME,VERSION[,OPTIONS]) installs that version of a Cargo tool where it is not there.
tool = $(1) --version 2>/dev/null | grep -Eq '(^| v?)$(subst .,\.,$(2))$$' || cargo install --quiet --locked $(1) --version $(2) $(3)

SCRIPTS = $(addprefix tests/,install-deps toolchain in-node run suites runner.bats cli.bats oci/oci.bats lib.sh cases.sh containers/helpers.bash containers/bundles.bash containers/hook.bats record-lib.sh record record-denials record-v2 record-servers profiles profiles-cluster aarch64 differential operator/run operator-lib.sh operator-pods.sh operator-e2e operator-nri operator-nri-features.sh operator-nri-killed operator-nri-killed.sh operator-cases operator-stored operator-use operator-scale operator-install operator-helm image packages demo docs/run docs/cluster docs/page docs/node docs/programs docs/links bench bench-operator bench-nri fuzz/run) $(wildcard tests/containers/cases/*.bash) .ci/run
CLUSTER_SCRIPTS = $(addprefix tests/cluster/,build up down kubectl enter component supervise smoke older/recipe.sh newer/recipe.sh)
PACKAGING_SCRIPTS = $(addprefix packaging/,deploy undeploy render image/build image/pack image/sbom scriptlet) tests/helm/build tests/nri/build tests/nri/run tests/oci/registry/build rpm/build rpm/to-deb
PROFILE_SCRIPTS = packaging/profiles/record $(wildcard packaging/profiles/*.sh packaging/profiles/applications/*.sh)

help:
	@echo "demo          run a container under the profile that its annotation selects, and record another"
	@echo "test          run all tests in parallel: crates, real containers, clusters; see also 'tests/run --help'"
	@echo "bench         measure the performance table"
	@echo "fuzz          run each parser's fuzz target for FUZZ_SECONDS (60)"
	@echo "lint          check format, clippy, docs, generated files, shell scripts and dependencies"
	@echo "docs          build the pages of docs/ as a site, target/book, and check its links"
	@echo "generate      write the generated tables and resource definitions"
	@echo "cluster       start a real one-node cluster, with NAME=… another one; cluster-down removes it"
	@echo "image         build the operator's image as an OCI archive, target/image/portcullis-operator.tar"
	@echo "rpm           build the RPM packages, offline, from a source archive with all crates; to target/rpm"
	@echo "deb           the same, then make Debian packages of them; to target/deb"
	@echo "deploy        install the operator in the cluster of 'make cluster' or, with IMAGE=NAME:TAG, in the"
	@echo "              one that kubectl uses (or CONTEXT=NAME)"
	@echo "undeploy      remove it from the cluster of 'make cluster', or from CONTEXT=NAME"
	@echo "clean         remove what was built"

build:
	tests/install-deps
	cargo build --release --locked -p portcullis-hook

demo: build
	cargo build --release --locked -p portcullis-operator
	tests/in-node tests/demo

test:
	tests/install-deps
	tests/run

bench: build
	cargo build --release --locked -p portcullis-hook --example bench
	tests/in-node tests/bench
	cargo bench --locked -p portcullis-hook --bench recorder
	cargo build --release --locked -p portcullis-operator --bins --examples
	tests/bench-operator
	cargo build --release --locked -p portcullis-nri --example scripted
	tests/bench-nri

FUZZ_SECONDS = 60

fuzz:
	tests/install-deps
	tests/fuzz/run $(FUZZ_SECONDS)

install-deps:
	tests/install-deps

lint:
	tests/install-deps
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
	cargo run --quiet --locked -p portcullis-profile --example generate-tables -- --check
	shellcheck -x $(SCRIPTS) $(PROFILE_SCRIPTS)
	shellcheck -x -P SCRIPTDIR $(CLUSTER_SCRIPTS) $(PACKAGING_SCRIPTS)
	@if command -v go >/dev/null; then echo packaging/render --check && packaging/render --check; \
	else echo '!!! NOT CHECKED: whether the manifests are what the chart says: there is no go, which builds helm' >&2; fi
	cargo metadata --locked --format-version 1 --manifest-path tests/fuzz/Cargo.toml >/dev/null
	@$(call tool,cargo-machete,$(CARGO_MACHETE))
	cargo machete
	@$(call tool,cargo-deny,$(CARGO_DENY))
	cargo deny --locked check bans licenses sources
	$(MAKE) --no-print-directory docs
	@if cargo deny --locked fetch db 2>/dev/null; then \
		echo 'cargo deny --frozen check advisories' && cargo deny --frozen check advisories; \
	else \
		echo '!!! NOT CHECKED: advisories about the dependencies: their database (github.com/RustSec/advisory-db) could not be fetched' >&2; \
	fi

# Without the server that mdbook has for writing.
docs:
	@$(call tool,mdbook,$(MDBOOK),--no-default-features --features search)
	@$(call tool,hyperlink,$(HYPERLINK))
	mdbook build docs
	tests/docs/links

generate:
	cargo run --quiet --locked -p portcullis-profile --example generate-tables
	cargo run --quiet --locked -p portcullis-operator -- crds >packaging/crds/portcullis.yaml.new
	mv packaging/crds/portcullis.yaml.new packaging/crds/portcullis.yaml
	cp packaging/crds/portcullis.yaml packaging/chart/files/crds.yaml
	cargo run --quiet --locked -p portcullis-operator -- admission-policies >packaging/admission/policies.yaml.new
	mv packaging/admission/policies.yaml.new packaging/admission/policies.yaml
	cargo run --quiet --locked -p portcullis-operator -- admission-webhooks >packaging/admission/webhooks.yaml.new
	mv packaging/admission/webhooks.yaml.new packaging/admission/webhooks.yaml

# NAME names another cluster of tests/cluster than the usual one.
NAME = portcullis

cluster:
	tests/cluster/up --name "$(NAME)"

cluster-down:
	tests/cluster/down --name "$(NAME)"

image:
	tests/install-deps
	cargo build --release --locked -p portcullis-operator
	packaging/image/build

rpm:
	tests/install-deps
	rpm/build

deb: rpm
	rpm/to-deb $(filter-out %.src.rpm,$(wildcard $(or $(CARGO_TARGET_DIR),target)/rpm/*.rpm))

# Without IMAGE, never change a real cluster.
ifdef IMAGE
deploy:
	packaging/deploy --image "$(IMAGE)" $(if $(CONTEXT),--context "$(CONTEXT)")
else
deploy: image
	packaging/deploy --test-cluster "$(NAME)"
endif

undeploy:
	packaging/undeploy $(if $(CONTEXT),--context "$(CONTEXT)",--test-cluster "$(NAME)")

clean:
	cargo clean
	rm -rf tests/fuzz/target tests/fuzz/corpus tests/fuzz/artifacts
