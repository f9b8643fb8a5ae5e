#!/usr/bin/env bats
# `portcullis`: the program as it is used in a shell and in a pipeline.
# shellcheck disable=SC2030,SC2031 # each case is a subshell

setup() {
    repository=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
    PATH=${CARGO_TARGET_DIR:-$repository/target}/debug:$PATH
    cd "$BATS_TEST_TMPDIR" || return
    allow read write >reader.json
    allow read write mkdir >maker.json
}
# allow NAME... — a profile that allows these calls and no others
allow() {
    local names
    names=$(printf ',"%s"' "$@")
    echo '{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls":' \
        "[{\"names\": [${names#,}], \"action\": \"SCMP_ACT_ALLOW\"}]}"
}
# exits CODE COMMAND... — the output is $output
exits() {
    run "${@:2}"
    echo "$output"
    [ "$status" -eq "$1" ]
}
has() { grep -qF -- "$1" <<<"$output"; }
lacks() { if has "$1"; then return 1; fi; }

@test "lint says nothing about a profile that does what it says" {
    exits 0 portcullis lint reader.json maker.json
    [ -z "$output" ]
}

@test "lint names every problem of a document with its place" {
    echo '{"defaultAction": "SCMP_ACT_ERNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALOW"}]}' >bad.json
    exits 1 portcullis lint reader.json bad.json
    has 'bad.json: error: defaultAction: '
    has 'bad.json: error: syscalls[0].action: '
}

@test "lint finds a rule that libseccomp would drop" {
    echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
        {"names": ["mkdir"], "action": "SCMP_ACT_KILL_PROCESS"}]}' >dropped.json
    exits 1 portcullis lint dropped.json
    has 'dropped.json: error: '
    has mkdir
}

@test "lint finds a denied call whose name nothing knows" {
    echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdri"], "action": "SCMP_ACT_ERRNO"}]}' >typo.json
    exits 1 portcullis lint typo.json
    has mkdri
}

@test "a warning is an error only with --strict" {
    allow read write mkdri >typo.json
    exits 0 portcullis lint typo.json
    has 'typo.json: warning: '
    exits 1 portcullis lint --strict typo.json
}

@test "lint prints JSON for pipelines" {
    echo '{"defaultAction": 1}' >bad.json
    exits 1 portcullis lint --json bad.json
    [ "$(jq -r '.[0].file + " " + .[0].level' <<<"$output")" = 'bad.json error' ]
    exits 0 portcullis lint --json reader.json
    [ "$output" = '[]' ]
}

@test "lint reads standard input, once" {
    exits 0 portcullis lint - <reader.json
    exits 2 portcullis lint - - <reader.json
    has 'only once'
}

@test "a file that can't be read is named, with the reason" {
    exits 2 portcullis lint missing.json
    [ "$output" = 'portcullis: missing.json: No such file or directory (os error 2)' ]
}

@test "diff finds no difference in what is only written differently" {
    echo '{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["write"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"}], "architectures": ["SCMP_ARCH_X86_64"]}' >other.json
    exits 0 portcullis diff reader.json other.json
    [ "$output" = 'The kernel treats every call alike under both.' ]
}

@test "diff says what a change allows, and how it compares as a whole" {
    exits 1 portcullis diff reader.json maker.json
    [ "$output" = "$(printf '+ mkdir\nNEW allows everything that OLD does, and more.')" ]
    exits 1 portcullis diff maker.json reader.json
    [ "$output" = "$(printf -- '- mkdir\nNEW allows nothing that OLD does not.')" ]
}

@test "diff tells another errno from another permission" {
    sed 's/"SCMP_ACT_ERRNO",/& "defaultErrnoRet": 38,/' reader.json >enosys.json
    exits 1 portcullis diff reader.json enosys.json
    has 'Both allow the same, but do not deny alike.'
}

@test "diff prints JSON" {
    exits 1 portcullis diff --json reader.json maker.json
    [ "$(jq -r '.relation + " " + .allowedInNewOnly[0]' <<<"$output")" = 'looser mkdir' ]
}

@test "a profile lies between what it is intersected and what it is merged with" {
    allow read close >closer.json
    exits 0 portcullis merge reader.json closer.json -o merged.json
    exits 0 portcullis intersect reader.json closer.json --output both.json
    exits 1 portcullis diff both.json reader.json
    has 'NEW allows everything that OLD does, and more.'
    exits 1 portcullis diff reader.json merged.json
    has 'NEW allows everything that OLD does, and more.'
    [ "$(stat -c %a merged.json)" = 644 ]
}

@test "merging with itself changes nothing, and the order does not matter" {
    exits 0 portcullis merge reader.json reader.json -o same.json
    exits 0 portcullis diff reader.json same.json
    portcullis merge reader.json maker.json -o one.json
    portcullis merge maker.json reader.json -o two.json
    exits 0 portcullis diff one.json two.json
}

@test "profiles that can't be merged exactly are refused, and the output is left as it was" {
    echo '{"defaultAction": "SCMP_ACT_KILL_PROCESS"}' >killer.json
    echo before >out.json
    exits 2 portcullis merge reader.json killer.json -o out.json
    has 'reader.json and killer.json: the filters have different'
    [ "$(cat out.json)" = before ]
}

@test "convert resolves conditions for the container that is described" {
    echo '{"defaultAction": "SCMP_ACT_ERRNO", "archMap": [{"architecture": "SCMP_ARCH_X86_64",
        "subArchitectures": ["SCMP_ARCH_X86"]}], "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}}]}' >docker.json
    exits 0 portcullis convert docker.json
    lacks mount
    exits 0 portcullis convert --capabilities sys_admin docker.json
    has mount
    [ "$(jq -r '.architectures | join(" ")' <<<"$output")" = 'SCMP_ARCH_X86_64 SCMP_ARCH_X86' ]
    exits 2 portcullis convert --engine containerd docker.json
    has docker.json
    exits 2 portcullis convert --capabilities SYS_ADMN docker.json
    has SYS_ADMN
}

@test "what convert prints has the effect of what it read" {
    exits 0 portcullis convert maker.json -o again.json
    exits 0 portcullis diff maker.json again.json
}

@test "a manifest becomes a file with the same effect on a node" {
    mkdir manifests root
    exits 0 portcullis convert --to manifest --name maker maker.json -o manifests/maker.yaml
    portcullis-operator agent --source "dir:$PWD/manifests" --seccomp-root "$PWD/root" --state "$PWD/state" --gate-socket "$PWD/gate.sock" 2>agent.log &
    agent=$!
    for _ in $(seq 300); do [ ! -e root/operator/maker.json ] || break; sleep 0.1; done
    kill "$agent"
    wait "$agent" || true
    cat agent.log
    exits 0 portcullis diff maker.json root/operator/maker.json
    exits 2 portcullis convert --to manifest maker.json
    has --name
    exits 2 portcullis convert --to manifest --name Maker maker.json
}

@test "a pipe that is closed early is no error" {
    portcullis completions bash | head -1
    [ "${PIPESTATUS[0]}" = 0 ]
}

@test "usage errors exit with 2, help and version with 0" {
    exits 2 portcullis
    exits 2 portcullis frobnicate
    exits 0 portcullis --version
    has "portcullis $(sed -n 's/^version = "\(.*\)"/\1/p' "$repository/Cargo.toml")"
    exits 0 portcullis lint --help
    has --strict
}
