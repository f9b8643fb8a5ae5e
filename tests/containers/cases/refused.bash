#!/usr/bin/env bats
# Filters that would not do what they say: nothing starts under them, whether a profile asks for one or config.json
# has it already.
# shellcheck disable=SC2016,SC2034,SC2154

load ../helpers
load ../bundles

# refuses_filter TEXT FILTER — it is refused as a profile, and where it is in config.json and equal to the selected one.
refuses_filter() {
    for change in . "${2:+.linux.seccomp = $2}"; do
        sees "$2" gated echo it-started
        ! grep -q it-started "$out.gated" || fail "it started with \"$change\""
        grep -qE -- "$1" "$said" || fail "it is refused for another reason: $(cat "$said")"
        [ "$(wc -l <"$said")" -eq 1 ] || fail "not one line: $(cat "$said")"
    done
}

# starts_gated FILTER TEXT COMMAND...
starts_gated() {
    local filter=$1 text=$2
    shift 2
    sees "$filter" gated "$@"
    grep -qFx -- "$text" "$out.gated" || fail "no \"$text\": $(cat "$out.gated" "$said")"
}

x32='"architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"]'
umask_rule='{"names": ["umask"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61, "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_NE"}]}'

@test "a program in which libseccomp lost the rules is refused, and the same without what makes it lose them is set" {
    starts_gated "{\"defaultAction\": \"SCMP_ACT_ALLOW\", $x32, \"syscalls\": [$umask_rule]}" 'umask:7: errno 61' probe umask:7
    lost="{\"defaultAction\": \"SCMP_ACT_ALLOW\", $x32, \"syscalls\": [$umask_rule, {\"names\": [\"umount\"], \"action\": \"SCMP_ACT_ERRNO\"}]}"
    # What the runtime makes of it by itself.
    sees "$lost" plain probe umask:7
    grep -qFx 'umask:7: errno 0' "$out.plain" || skip "this libseccomp loses nothing: $(cat "$out.plain")"
    refuses_filter 'umask' "$lost"
}

@test "a profile on which libseccomp never ends is refused in bounded time" {
    both='{"index": 0, "value": 9, "op": "SCMP_CMP_LT"}, {"index": 2, "value": 3, "op": "SCMP_CMP_GE"}'
    endless="{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [
        {\"names\": [\"umask\"], \"action\": \"SCMP_ACT_ERRNO\", \"args\": [$both, {\"index\": 1, \"value\": 1, \"op\": \"SCMP_CMP_EQ\"}]},
        {\"names\": [\"umask\"], \"action\": \"SCMP_ACT_ERRNO\", \"args\": [$both]}]}"
    refuses_filter 'rules for umask' "$endless"
    ! pgrep -f "portcullis.*$work" >/dev/null || fail 'a process is left'
}

@test "two actions for one call, of which one would not be there, are refused by both" {
    refuses_filter 'tee' '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["tee"], "action": "SCMP_ACT_ERRNO"},
        {"names": ["tee"], "action": "SCMP_ACT_KILL_PROCESS"}]}'
}

@test "a name that C cuts is refused" {
    refuses_filter 'tee' '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["tee\u0000x"], "action": "SCMP_ACT_ERRNO"}]}'
}

@test "an empty filter is none: refused where one is required, replaced where one is selected" {
    change='.linux.seccomp = {}'
    write_settings 'require = "any-filter"'
    for pod in seccomp.example.com/none "$pod"; do
        sees '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["tee"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61}]}' gated probe tee
        [ "$pod" = seccomp.example.com/none ] || continue
        ! grep -q tee "$out.gated" || fail 'it started without a filter'
    done
    grep -qFx 'tee: errno 61' "$out.gated" || fail "the selected filter is not there: $(cat "$said")"
}

@test "a key of config.json in another case beside the right one is refused" {
    change='.Linux = {seccomp: {defaultAction: "SCMP_ACT_ALLOW"}}'
    sees '{"defaultAction": "SCMP_ACT_ERRNO"}' gated echo it-started
    ! grep -q it-started "$out.gated" || fail 'it started'
    grep -q '[Ll]inux' "$said" || fail "it is refused for another reason: $(cat "$said")"
}

@test "more conditions than the runtime reads are refused, or all are there" {
    conditions=$(jq -nc '[range(7) | {index: 0, value: (. + 1), op: "SCMP_CMP_EQ"}]')
    filter="{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{\"names\": [\"umask\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 61, \"args\": $conditions}]}"
    sees "$filter" gated probe umask:1 umask:7 umask:8
    if grep -q errno "$out.gated"; then
        printf 'umask:1: errno 61\numask:7: errno 61\numask:8: errno 0\nexit code: 0\n' | diff - "$out.gated" || fail 'some are not there'
    else
        grep -q '6' "$said" || fail "it does not say why: $(cat "$said")"
    fi
}

@test "an annotation by which crun takes another filter is refused beside a profile" {
    for key in run.oci.seccomp_bpf_data run.oci.seccomp.receiver run.oci.seccomp.plugins run.oci.handler; do
        change=".annotations[\"$key\"] = \"x\""
        sees '{"defaultAction": "SCMP_ACT_ALLOW"}' gated echo it-started
        ! grep -q it-started "$out.gated" || fail "it started with $key"
        grep -qF "$key" "$said" || fail "it is not named: $(cat "$said")"
    done
}
