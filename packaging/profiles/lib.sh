# shellcheck shell=bash
# What recording the predefined profiles and replaying them share: an application that is started, loaded and stopped in
# a container. A file in applications/ says how. To be sourced from within tests/in-node.
# shellcheck disable=SC2034,SC2154,SC2317

# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../tests/lib.sh"
# shellcheck source=tests/cases.sh
. "$repository/tests/cases.sh"
# shellcheck source=tests/record-lib.sh
. "$repository/tests/record-lib.sh"
# shellcheck source=packaging/profiles/applications.sh
. "$repository/packaging/profiles/applications.sh"
# shellcheck source=packaging/profiles/network.sh
. "$repository/packaging/profiles/network.sh"
leave() { end_network; cleanup; }
trap leave EXIT
make_network || { echo 'no network namespace with an interface can be made; needs root, ip (iproute2) and veth' >&2; exit 1; }

portcullis=$target/portcullis

client() { # FUNCTION — runs it beside the server: same network, processes and files
    pm --runtime "$runtime" exec "client-$name" bash -c "$(declare -f helpers); helpers; $(declare -f "$1"); round=$round
        exec 9>/tmp/trace; BASH_XTRACEFD=9; set -x; $1"
}
ready_or_dead() { { client resolves && client ready; } >"$out" 2>&1 || ended; }
failure() { { echo "$application: $1:"; tail -q -n 8 "${@:2}"; } >>"$out" 2>&1; }
# Podman can't remove it as long as there is the client that depends on it.
ended() { [ "$(pm container inspect --format '{{.State.Status}}' "$name" 2>/dev/null)" != running ]; }
removed() {
    pm rm -f -t 0 "$1" >/dev/null 2>&1
    pm container exists "$1"
    [ $? -eq 1 ]
}

# run_application ROUND HOOKS OPTION... — starts, loads and stops it; returns 0 if all of that went well. Rounds differ
# in privileges, signals and what the application makes of $round.
run_application() {
    local round=$1 hooks=$2 code=0 privileges=() log=$work/server.log
    shift 2
    # shellcheck disable=SC2206 # none, or -t
    [ $((round % 2)) -eq 0 ] || privileges=(--security-opt no-new-privileges $terminal)
    name=$application-$runtime
    find "$rootfs/tmp" "$rootfs/run" -mindepth 1 -delete
    # runc gives a tmpfs the mode of the folder below it.
    mkdir -p "$rootfs/full"
    chmod 1777 "$rootfs"/{tmp,run,full}
    mkdir -p "$rootfs/root"
    echo 'max-time = 120' >"$rootfs/root/.curlrc"
    rm -f "$log"
    configure || return
    pm --runtime "$runtime" --hooks-dir "$hooks" run --rm --detach --name "$name" "${pod_options[@]}" --user "$user" --shm-size 128m \
        --ulimit nofile=512:512 --ulimit nproc=4000:4000 --mount type=tmpfs,tmpfs-size=1m,tmpfs-mode=1777,destination=/full \
        --log-driver k8s-file --log-opt "path=$log" "${privileges[@]}" "${options[@]}" "$@" --rootfs "$rootfs" sh -c "$(declare -f serve); round=$round; serve" >"$out" 2>&1 || return
    container_id=$(pm inspect --format '{{.Id}}' "$name" 2>/dev/null)
    pm --runtime "$runtime" --hooks-dir "$work/none" run --rm --detach --name "client-$name" --network "container:$name" \
        --pid "container:$name" --cap-add SYS_PTRACE --security-opt seccomp=unconfined "${limits[@]}" --rootfs "$rootfs" python3 -c "$(<"$profiles/resolver.py")" >"$out" 2>&1 || code=1
    if [ $code -eq 0 ]; then
        within 240 ready_or_dead || code=1
        if ended; then code=1; fi
    fi
    if [ $code -eq 0 ]; then
        client load >"$out" 2>&1 || { code=1; failure 'its load failed' "$rootfs/tmp/trace" "$log"; }
        # Runtimes freeze containers, on request and when their limits change. The kernel then restarts interrupted calls.
        if [ $code -eq 0 ] && ! { pm --runtime "$runtime" pause "$name" && pm --runtime "$runtime" unpause "$name"; } >"$out" 2>&1; then
            code=1
            failure 'it was not frozen and thawed' "$log"
        fi
        # Readiness probes and the like.
        if [ $code -eq 0 ] && ! pm --runtime "$runtime" exec "$name" sh -ec "$(declare -f inside); round=$round; inside" >"$out" 2>&1; then
            code=1
            failure 'what was executed in it failed' "$log"
        fi
        pm kill --signal "${ends[round % ${#ends[@]}]}" "$name" >/dev/null 2>&1
        if ! within 240 ended && [ $code -eq 0 ]; then
            echo "$name did not stop on SIG${ends[round % ${#ends[@]}]}" >"$out"
            code=1
        fi
    else
        failure 'it did not become ready' "$log"
    fi
    # The next round takes their names.
    within 240 removed "client-$name" && within 240 removed "$name"
    return $code
}
