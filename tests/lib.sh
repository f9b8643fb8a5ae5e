# shellcheck shell=bash
# What everything that starts real containers shares: a root file system, hooks, profiles, podman.
# A script gets a folder of its own, which goes with it; bats gives each case one, and its teardown ends it.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$repository/target}/release
hook=$target/portcullis-hook
wrapper=$target/portcullis-runtime
for binary in "$hook" "$wrapper"; do
    [ -x "$binary" ] || { echo "$binary is missing; cargo build --release -p portcullis-hook" >&2; exit 1; }
done

work=${BATS_TEST_TMPDIR:-$(mktemp -d /tmp/portcullis-test.XXXXXX)}
rootfs=$work/rootfs
seccomp_root=$work/seccomp
settings=$work/hook.toml
out=$work/out
hooks_both=$work/hooks-both     # inject and verify
hooks_verify=$work/hooks-verify # verify alone

pm() {
    podman --root "$work/storage" --runroot "$work/run" --tmpdir "$work/tmp" --storage-driver vfs \
        --cgroup-manager cgroupfs --events-backend file "$@"
}

cleanup() {
    pm rm --all --force --time 0 >/dev/null 2>&1 || true
    umount -l "$work/storage" 2>/dev/null || true
    rm -rf "$work"
}
[ -n "${BATS_TEST_TMPDIR:-}" ] || trap cleanup EXIT

make_rootfs() {
    mkdir -p "$rootfs"/{bin,proc,sys,dev,tmp,etc,run}
    cp "$(command -v busybox)" "$rootfs/bin/busybox"
    for applet in sh mkdir rmdir true cat sleep echo ls; do ln -sf busybox "$rootfs/bin/$applet"; done
    chmod 1777 "$rootfs/tmp"
}

# Hook files as they ship, with this build's binary and these settings.
make_hooks() {
    mkdir -p "$hooks_both" "$hooks_verify"
    for file in "$repository"/crio.d/podman-hooks.d/*.json; do
        jq --arg hook "$hook" --arg settings "$settings" \
            '.hook.path = $hook | .hook.args += ["--config", $settings]' "$file" >"$hooks_both/$(basename "$file")"
    done
    cp "$hooks_both/portcullis-verify.json" "$hooks_verify/"
}

# write_settings LINE... — hook.toml of this test.
write_settings() {
    {
        echo "seccomp_root = \"$seccomp_root\""
        echo 'wait_ms = 0'
        printf '%s\n' "$@"
    } >"$settings"
}

# denying NAME ERRNO — an OCI profile that forbids one call with its own errno.
denying() {
    jq -n --arg name "$1" --argjson errno "$2" '{defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{names: [$name], action: "SCMP_ACT_ERRNO", errnoRet: $errno}]}'
}

# The annotations, for the scripts that source this.
# shellcheck disable=SC2034
pod=seccomp.security.alpha.kubernetes.io/pod
# shellcheck disable=SC2034
container=container.seccomp.security.alpha.kubernetes.io

# Limits of each container; raising them is not permitted on every machine.
limits=(--ulimit nofile=1024:1024 --ulimit nproc=1000:1000)

# start RUNTIME HOOKS OPTION... -- COMMAND... — podman run under a runtime with a folder of hooks.
# A busy machine makes Podman lose what a short-lived container prints; conmon's log has it, and fills an empty file.
start() {
    local runtime=$1 hooks=$2 status=0 log=$work/container.$BASHPID.log
    shift 2
    local options=()
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    rm -f "$log"
    pm --runtime "$runtime" --hooks-dir "$hooks" run --rm --network none \
        --log-driver k8s-file --log-opt "path=$log" "${limits[@]}" "${options[@]}" --rootfs "$rootfs" "$@" || status=$?
    if [ -f /dev/stdout ] && [ ! -s /dev/stdout ] && [ -s "$log" ]; then
        sed -E 's/^[^ ]+ (stdout|stderr) [FP] //' "$log"
    fi
    return $status
}

# within SECONDS COMMAND... — until it succeeds.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

# What follows is told by its callers the runtime and the way: inject, or wrapper with verify behind it.
# shellcheck disable=SC2154

# go OPTION... -- COMMAND... — a container in that way; its output in $out, its exit code in $code.
# shellcheck disable=SC2034
go() {
    local hooks=$hooks_both by=$runtime
    [ "$way" = inject ] || hooks=$hooks_verify by=$work/bin/portcullis-$runtime
    code=0
    start "$by" "$hooks" "$@" >"$out" 2>&1 || code=$?
}

# Each runtime behind the wrapper, under a name that Podman does not know.
make_wrappers() {
    local name
    mkdir -p "$work/bin"
    for name in crun runc; do
        printf '#!/bin/sh\nexec %q --portcullis-engine podman --portcullis-config %q --portcullis-runtime %q "$@"\n' \
            "$wrapper" "$settings" "$(command -v "$name")" >"$work/bin/portcullis-$name"
        chmod +x "$work/bin/portcullis-$name"
    done
}

# Whether this test has neither runtime state nor a monitor process.
is_clean() {
    ! "$runtime" list 2>/dev/null | grep -qF "$work" && ! pgrep -f "conmon.*$work" >/dev/null
}

# The same, once podman has tidied up behind it.
nothing_left() { within 60 is_clean; }
