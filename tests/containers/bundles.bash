# shellcheck shell=bash
# Containers straight from a runtime, without an engine: one and the same container is run by the runtime alone, with
# its filter in config.json, and through the gate, with that filter in the profile that an annotation selects and
# verify as a hook. What comes of the two must be the same, whatever the runtime makes of such a filter.
# To be loaded after helpers.
# shellcheck disable=SC2034,SC2154

# What files of such cases begin and end with, unless they have more to do.
setup_file() {
    name_round
    build_probe
}
setup() {
    prepare
    prepare_bundles
}
teardown() {
    tidy_bundles
    tidy
}

# A filter that allows nearly all.
most='{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["tee"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61}]}'

# prepare_bundles — in setup, after prepare.
prepare_bundles() {
    bundle=$work/bundle
    mkdir -p "$bundle"
    [ ! -e "$BATS_FILE_TMPDIR/probe" ] || cp "$BATS_FILE_TMPDIR/probe" "$rootfs/bin/"
    write_settings
    id=case-$$-$BATS_TEST_NUMBER
    change=.
}

# build_probe — in setup_file.
build_probe() { gcc -static -O2 -o "$BATS_FILE_TMPDIR/probe" "${BATS_TEST_DIRNAME}/../../probe.c"; }

# tidy_bundles — in teardown, before tidy.
tidy_bundles() {
    local by
    for by in plain gated; do
        "$runtime" --root "$work/$by" delete --force "$id" >/dev/null 2>&1 || true
    done
}

# configure COMMAND... — config.json of a container, as an engine would write it, changed by the jq filter $change.
configure() {
    printf '%s\036' "$@" | jq -Rs --arg rootfs "$rootfs" --arg cgroup "/portcullis-test/$id" '
        ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SYS_CHROOT"] as $capabilities | {
        ociVersion: "1.0.2", root: {path: $rootfs},
        process: {args: (split("\u001e")[:-1]), cwd: "/", env: ["PATH=/bin"], user: {uid: 0, gid: 0},
            capabilities: {bounding: $capabilities, effective: $capabilities, permitted: $capabilities}},
        mounts: [{destination: "/proc", type: "proc", source: "proc"},
            {destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"]}],
        linux: {cgroupsPath: $cgroup, namespaces: [{type: "pid"}, {type: "ipc"}, {type: "uts"}, {type: "mount"}, {type: "network"}]}
        } | '"$change"
}

# lay FILTER KIND COMMAND... — the bundle, with the filter in config.json (plain) or in a selected profile (gated);
# $run is the runtime for it.
lay() {
    local filter=$1 kind=$2 verify
    shift 2
    rm -rf "${bundle:?}" "${work:?}/$kind"
    mkdir "$bundle"
    # A container that its own filter stops half way must not stop the tests.
    run=(timeout --foreground --kill-after=10 120 "$runtime" --root "$work/$kind")
    if [ "$kind" = plain ]; then
        configure "$@" | jq --argjson filter "$filter" '.linux.seccomp = $filter' >"$bundle/config.json"
        return
    fi
    printf '%s\n' "$filter" >"$files/moved.json"
    verify=$(jq -n --arg hook "$hook" --arg settings "$settings" \
        '[{path: $hook, args: ["portcullis-hook", "verify", "--engine", "podman", "--config", $settings]}]')
    configure "$@" | jq --arg pod "$pod" --argjson verify "$verify" '.annotations[$pod] = "localhost/operator/moved.json" |
        .hooks.createRuntime = (.hooks.createRuntime // []) + $verify' >"$work/config.json"
    if [ "$way" = wrapper ]; then
        mv "$work/config.json" "$bundle/config.json"
        run[4]=$work/bin/portcullis-$runtime
    else
        "$hook" inject --engine podman --config "$settings" <"$work/config.json" >"$bundle/config.json" 2>"$work/said"
    fi
}

# sees FILTER KIND COMMAND... — what the container prints, in $out.KIND, and its exit code after it.
sees() {
    local kind=$2
    said=$work/said.$kind code=0
    if ! lay "$@"; then
        cp "$work/said" "$said"
        echo 'exit code: refused' >"$out.$kind"
        return
    fi
    "${run[@]}" run --bundle "$bundle" "$id" >"$out.$kind" 2>"$said" || code=$?
    echo "exit code: $code" >>"$out.$kind"
}

# alike FILTER COMMAND... — what the container prints, and how it ends, is the same with and without the gate; in $out.
alike() {
    local filter=$1
    shift
    sees "$filter" plain "$@"
    sees "$filter" gated "$@"
    cp "$out.plain" "$out"
    diff "$out.plain" "$out.gated" || fail "through the gate it is otherwise: $(cat "$said")"
}

# neither FILTER — the container starts neither way; what the gate says is in $out.
neither() {
    local kind
    for kind in plain gated; do
        sees "$1" "$kind" echo it-started
        ! grep -q it-started "$out.$kind" || fail "it started: $kind"
        ! grep -q 'exit code: 0' "$out.$kind" || fail "exit code 0: $kind"
    done
    cp "$said" "$out"
}
