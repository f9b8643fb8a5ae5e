#!/usr/bin/env bats
# The hook's verbs that need no container: inject on what it shall not touch, check, explain.
# shellcheck disable=SC2154

load helpers

setup() {
    prepare
    # A whole gate, for check: root's own files, one hook that verifies.
    chmod 755 "$seccomp_root"
    mkdir "$work/check" "$work/sbin"
    cp "$hook" "$work/sbin/portcullis-hook"
    jq --arg hook "$work/sbin/portcullis-hook" '.hook.path = $hook' "$hooks_verify/portcullis-verify.json" \
        >"$work/check/verify.json"
}
teardown() { tidy; }

# checks CODE TEXT — what check says of this gate.
checks() {
    code=0
    "$hook" check --engine podman --config "$settings" --hooks-dir "$work/check" >"$out" 2>&1 || code=$?
    [ "$code" -eq "$1" ] || fail "exit code $code, not $1"
    grep -q -- "$2" "$out" || fail "no \"$2\""
}

@test "inject gives back a configuration without annotations to the byte" {
    printf '{ "x-new": 1.50e3,\n\t"linux": {"z":1, "seccomp": {"defaultAction":"SCMP_ACT_ALLOW"}} ,"annotations":{}}\n' \
        >"$work/same.json"
    "$hook" inject --engine podman --config "$settings" <"$work/same.json" >"$out" 2>&1
    cmp "$work/same.json" "$out" || fail 'it changed something'
}

@test "check finds a whole gate whole" { checks 0 'ok  *a hook that verifies'; }

@test "check finds a hook that others may change" {
    chmod 777 "$work/sbin/portcullis-hook"
    checks 1 'problem .*others than root may change it'
}

@test "check finds a binary that is not there" {
    rm "$work/sbin/portcullis-hook"
    checks 1 'problem .*podman skips the hook without a word'
}

@test "check finds that nothing verifies" {
    rm "$work/check/verify.json"
    checks 1 'problem  a hook that verifies: none for every container in'
}

@test "check finds broken settings, with the line" {
    echo 'mod = 1' >"$settings"
    checks 1 'problem  settings .*line 1'
}

@test "explain tells what would be decided and refuses nothing" {
    mkdir "$work/bundle"
    jq -n --arg pod "$pod" '{ociVersion: "1.0.2", process: {}, linux: {},
        annotations: {($pod): "localhost/operator/none.json"}}' >"$work/bundle/config.json"
    "$hook" explain --engine podman --config "$settings" --bundle "$work/bundle" >"$out" 2>&1
    grep -q 'would refuse (exit code 6).*no such file' "$out" || fail 'it does not'
}
