#!/usr/bin/env bats
# Filters of every kind, moved out of config.json into a selected profile: the container must fare as it does under
# the plain runtime.
# shellcheck disable=SC2016,SC2034,SC2154

load ../helpers
load ../bundles

# with ENTRY... — a filter that allows all but these entries.
with() { jq -nc '{defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    syscalls: [$ARGS.positional[] | fromjson]}' --args "$@"; }

# listing FILTER — one that denies by default and allows what containers need but for tee and fsync, changed by jq.
listing() {
    jq -c '[.syscalls[] | select(.action == "SCMP_ACT_ALLOW") | .names[]] - ["tee", "fsync", "personality"] | unique |
        {defaultAction: "SCMP_ACT_ERRNO", architectures: ["SCMP_ARCH_X86_64"], syscalls: [{names: ., action: "SCMP_ACT_ALLOW"}]} | '"$1" \
        /usr/share/containers/seccomp.json
}

# gives FILTER CALL RESULT... — each call ends like this, both ways.
gives() {
    local filter=$1 calls=()
    shift
    for ((at = 1; at <= $#; at += 2)); do calls+=("${!at}"); done
    alike "$filter" probe "${calls[@]}"
    while [ $# -gt 0 ]; do
        grep -qFx -- "$1: $2" "$out" || fail "not \"$1: $2\""
        shift 2
    done
}

@test "a default action with an errno of its own" {
    gives "$(listing '.defaultErrnoRet = 77')" tee 'errno 77' fsync 'errno 77' getpgid 'errno 3'
}

@test "a default action without an errno" { gives "$(listing .)" tee 'errno 1' getpgid 'errno 3'; }

@test "a call above the highest named one" {
    alike "$(listing '.defaultErrnoRet = 77')" probe new
}

@test "an errno for each rule, none and zero" {
    gives "$(with '{"names": ["fsync"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61}' \
        '{"names": ["tee"], "action": "SCMP_ACT_ERRNO"}' \
        '{"names": ["splice"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0}')" \
        fsync 'errno 61' tee 'errno 1' splice 'errno 0' getpgid 'errno 3'
}

# crun refuses to start it; runc ignores the errno, and so does the gate.
@test "an errno on an action that has none" {
    sees "$(with '{"names": ["tee"], "action": "SCMP_ACT_LOG", "errnoRet": 61}' \
        '{"names": ["fsync"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61}')" gated probe tee fsync
    grep -qFx 'tee: errno 22' "$out.gated" && grep -qFx 'fsync: errno 61' "$out.gated" || fail "$(cat "$out.gated" "$said")"
}

@test "every action" {
    gives "$(with '{"names": ["fsync"], "action": "SCMP_ACT_KILL"}' '{"names": ["tee"], "action": "SCMP_ACT_KILL_PROCESS"}' \
        '{"names": ["splice"], "action": "SCMP_ACT_TRAP"}' '{"names": ["getpgid"], "action": "SCMP_ACT_TRACE"}' \
        '{"names": ["ioprio_get"], "action": "SCMP_ACT_LOG"}' '{"names": ["flock"], "action": "SCMP_ACT_KILL_THREAD"}')" \
        fsync 'signal 31' tee 'signal 31' splice 'signal 31' getpgid 'errno 38' ioprio_get 'errno 22' flock 'signal 31'
}

@test "names that nobody knows, where they deny nothing" {
    gives "$(with '{"names": ["no_such_call", "tee"], "action": "SCMP_ACT_ALLOW"}' \
        '{"names": ["fsync"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61}')" tee 'errno 22' fsync 'errno 61'
}

@test "conditions with every operator" {
    for condition in 'SCMP_CMP_NE 8 7 8' 'SCMP_CMP_LT 8 7 8' 'SCMP_CMP_LE 8 8 9' 'SCMP_CMP_EQ 8 8 7' 'SCMP_CMP_GE 8 8 7' 'SCMP_CMP_GT 8 9 8'; do
        read -r op value denied allowed <<<"$condition"
        gives "$(with "{\"names\": [\"umask\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 61, \"args\": [{\"index\": 0, \"value\": $value, \"op\": \"$op\"}]}")" \
            "umask:$denied" 'errno 61' "umask:$allowed" 'errno 0'
    done
}

@test "a masked condition" {
    gives "$(with '{"names": ["umask"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61,
        "args": [{"index": 0, "value": 12, "valueTwo": 4, "op": "SCMP_CMP_MASKED_EQ"}]}')" \
        umask:5 'errno 61' umask:8 'errno 0' umask:12 'errno 0'
}

@test "conditions on two arguments hold together, two on one argument each" {
    gives "$(with '{"names": ["umask"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61,
        "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 2, "op": "SCMP_CMP_EQ"}]}')" \
        umask:1:2 'errno 61' umask:1:3 'errno 0' umask:3:2 'errno 0'
    gives "$(with '{"names": ["umask"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61,
        "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]}')" \
        umask:1 'errno 61' umask:2 'errno 61' umask:3 'errno 0'
}

@test "several architectures, and calls of one that is not listed" {
    gives "$(with '{"names": ["getpgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61}')" getpgid 'errno 61'
    alike "$(with '{"names": ["getpgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61}')" probe compat x32
    alike "$(with '{"names": ["tee"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61}' |
        jq -c '.architectures = ["SCMP_ARCH_X86_64"]')" probe tee compat x32
}

@test "no architectures, and an empty list of them" {
    filter=$(with '{"names": ["tee"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61}')
    gives "$(jq -c 'del(.architectures)' <<<"$filter")" tee 'errno 61' getpgid 'errno 3'
    gives "$(jq -c '.architectures = []' <<<"$filter")" tee 'errno 61' getpgid 'errno 3'
}

@test "no rules" {
    gives '{"defaultAction": "SCMP_ACT_ALLOW"}' tee 'errno 22'
    gives '{"defaultAction": "SCMP_ACT_LOG", "syscalls": []}' tee 'errno 22'
}

# The kernel shows whether there is a filter, and whether its loads are speculated. Debian's runc refuses every flag.
@test "flags: none, empty, each and all together" {
    filter=$(with '{"names": ["tee"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61}')
    for flags in . '.flags = []' '.flags = ["SECCOMP_FILTER_FLAG_LOG"]' '.flags = ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]' \
        '.flags = ["SECCOMP_FILTER_FLAG_TSYNC"]' \
        '.flags = ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]'; do
        alike "$(jq -c "$flags" <<<"$filter")" sh -c \
            'probe tee; while read -r line; do case $line in Secc*|Specul*) echo "$line";; esac; done </proc/self/status'
        case $flags in
        *TSYNC*) continue ;;
        *LOG* | *SPEC*) [ "$runtime" = crun ] || ! grep -q 'exit code: 1' "$out" || continue ;;
        esac
        grep -q 'Seccomp:.2' "$out" && grep -qFx 'tee: errno 61' "$out" || fail "there is no filter: $flags"
    done
}

@test "no_new_privs and another user" {
    change='.process.noNewPrivileges = true | .process.user = {uid: 1000, gid: 1000}'
    gives "$(with '{"names": ["tee"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61}')" tee 'errno 61' getpgid 'errno 3'
    gives "$(listing '.defaultErrnoRet = 77')" tee 'errno 77' getpgid 'errno 3'
}

@test "the engine's own default" {
    # As Podman resolves it for a container without capabilities.
    listing '.syscalls += [{names: ["personality"], action: "SCMP_ACT_ALLOW", args: [{index: 0, value: 8, op: "SCMP_CMP_EQ"}]}]' >"$work/default"
    gives "$(cat "$work/default")" personality:8 'errno 0' personality:7 'errno 1'
}

@test "what neither runtime nor gate takes: an action or an operator that does not exist" {
    neither "$(with '{"names": ["tee"], "action": "SCMP_ACT_NONE"}')"
    neither "$(with '{"names": ["tee"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_IS"}]}')"
    neither "$(with '{"names": ["tee"], "action": "SCMP_ACT_ERRNO"}' | jq -c '.architectures = ["SCMP_ARCH_PDP11"]')"
}
