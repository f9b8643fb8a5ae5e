#!/usr/bin/env bats
# Filters that ask a listener: what it decides holds for a container whose profile names it as for one whose
# config.json does.
# shellcheck disable=SC2016,SC2034,SC2154

load ../helpers
load ../bundles

setup_file() {
    name_round
    build_probe
    gcc -static -O2 -o "$BATS_FILE_TMPDIR/listener" "$BATS_TEST_DIRNAME/../../listener.c"
}
setup() {
    prepare
    prepare_bundles
    # A socket's path is short.
    sockets=$(mktemp -d /tmp/portcullis-notify.XXXXXX)
    socket=$sockets/s
    listener=''
}
teardown() {
    [ -z "$listener" ] || kill "$listener" 2>/dev/null || true
    tidy_bundles
    tidy
    rm -rf "$sockets"
}

# asking NAMES JQ — a filter that asks about these calls, changed by jq.
asking() {
    jq -nc --argjson names "$1" --arg socket "$socket" '{defaultAction: "SCMP_ACT_ALLOW", listenerPath: $socket,
        listenerMetadata: "of the profile", syscalls: [{names: $names, action: "SCMP_ACT_NOTIFY"}]} | '"${2:-.}"
}

# listens HOW
listens() {
    [ -z "$listener" ] || kill "$listener" 2>/dev/null || true
    rm -f "$socket"
    "$BATS_FILE_TMPDIR/listener" "$socket" "$1" >"$sockets/heard" 3>&- &
    listener=$!
    within 60 test -S "$socket" || fail 'there is no listener'
}

# decided HOW FILTER COMMAND... — with and without the gate, what the container prints and the listener hears.
decided() {
    local how=$1 filter=$2 kind
    shift 2
    for kind in plain gated; do
        listens "$how"
        sees "$filter" "$kind" "$@"
        # Times, processes and the annotation that selects are no part of what is compared.
        sed '/^{/d' "$sockets/heard" >>"$out.$kind"
        jq -R 'fromjson? | .metadata' "$sockets/heard" >>"$out.$kind"
    done
    cp "$out.plain" "$out"
    diff "$out.plain" "$out.gated" || fail "through the gate it is otherwise: $(cat "$said")"
}

@test "a listener lets calls through" {
    decided answers "$(asking '["tee"]')" probe tee fsync
    says 'tee: errno 22' || fail 'tee was not made'
    says 'call ' || fail 'the listener was not asked'
    says 'of the profile' || fail 'the metadata are not there'
}

@test "a listener refuses calls" {
    decided refuses "$(asking '["tee"]')" probe tee fsync
    says 'tee: errno 61' || fail 'tee was made'
}

@test "a listener that dies" {
    decided dies "$(asking '["tee"]')" probe tee
    ! says 'tee: errno 22' || fail 'tee was made'
}

@test "a listener under no_new_privs" {
    change='.process.noNewPrivileges = true'
    decided refuses "$(asking '["tee"]')" probe tee
    says 'tee: errno 61' || fail 'tee was made'
}

@test "a listener that is not there, and one that is no socket" {
    neither "$(asking '["tee"]')"
    : >"$socket"
    neither "$(asking '["tee"]')"
}

# refused TEXT FILTER — by the gate; crun starts it all the same.
refused() {
    sees "$2" gated echo it-started
    ! grep -q it-started "$out.gated" || fail 'it started'
    grep -qF -- "$1" "$said" || fail "it is refused for another reason: $(cat "$said")"
}

# Nobody answers, or no runtime could hand the descriptor over.
@test "a profile that asks without a listener's path, about write, or about every call" {
    listens answers
    refused listenerPath "$(asking '["tee"]' 'del(.listenerPath)')"
    refused 'used for write' "$(asking '["write"]')"
    refused 'the default action' "$(asking '["tee"]' '.defaultAction = "SCMP_ACT_NOTIFY"')"
}
