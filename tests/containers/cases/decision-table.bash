#!/usr/bin/env bats
# The rows of the decision table on real containers, and that the gate tells what it decided.
# shellcheck disable=SC2016,SC2154

load ../helpers

setup_file() { name_round; }
setup() {
    prepare
    denying mkdir 63 >"$work/default.json"
    # The engine's own default less mkdir: it allows nothing that the default denies.
    jq '(.syscalls[].names) -= ["mkdir"] | .syscalls += [{names: ["mkdir"], action: "SCMP_ACT_ERRNO", errnoRet: 61}]' \
        /usr/share/containers/seccomp.json >"$files/stricter.json"
    # Decisions as an agent would receive them, one JSON text after the other.
    socket=$work/gate.sock decisions=$work/decisions
    : >"$decisions"
    socat -u "UNIX-RECV:$socket" "OPEN:$decisions,append" 3>&- &
    listener=$!
    within 60 test -S "$socket"
    settle
}
teardown() {
    kill -CONT "$listener" && kill "$listener"
    tidy
}

settle() { write_settings "gate_socket = \"$socket\"" "$@"; }

# told OUTCOME CODE TEXT — what the last container made the gate send.
is_told() {
    jq -es --arg outcome "$1" --argjson code "$2" --arg text "$3" 'any(.[];
        .version == 1 and .outcome == $outcome and .code == $code and (.message | contains($text)))' \
        "$decisions" >/dev/null 2>&1
}
told() {
    within 60 is_told "$@" || fail "no decision \"$1\" with code $2 and \"$3\" in: $(head -c 8000 "$decisions")"
}

# stops CODE TEXT OPTION... — nothing starts, and the gate's socket says why, under crun too.
stops() {
    local wanted=$1 text=$2
    shift 2
    does_not_start "$@"
    told refused "$wanted" "$text"
}

@test "a refusal is told with pod, container, annotation and reference" {
    does_not_start --annotation io.kubernetes.container.name=app --annotation "$container/app=$local_ref/none.json"
    told refused 6 'no such file'
    jq -es --arg annotation "$container/app" 'any(.[]; .container == "app" and .annotation == $annotation
        and .engine == "podman" and .reference == "localhost/operator/none.json")' "$decisions" ||
        fail "a part is missing: $(cat "$decisions")"
}

@test "a decision about a huge annotation is small and free of control characters" {
    does_not_start --annotation "$pod=localhost/$(printf 'x\033%.0s' {1..20000})"
    told refused 5 ''
    [ "$(stat -c %s "$decisions")" -lt 8192 ] || fail 'it is large'
    jq -es 'all(.. | strings; explode | all(. >= 32 and . != 127))' "$decisions" >/dev/null || fail 'it has one'
}

@test "another filter than the selected one is a conflict, and the calls are named" {
    stops 8 'mkdir' --security-opt "seccomp=$files/other.json" --annotation "$selects"
}

@test "a profile that is looser than the default is refused, and the calls are named" {
    stops 8 'replace_default = "any"' --annotation "$selects"
}

@test "a profile that is stricter than the default replaces it" {
    starts_with 'No data available' --annotation "$pod=$local_ref/stricter.json" -- sh -c "$say"
}

@test "a profile is set where there is no filter" {
    starts_with 'No data available' "${bare[@]}" --annotation "$selects" -- sh -c "$say"
}

@test "a profile is set in a privileged container" {
    starts_with 'No data available' --privileged --annotation "$selects" -- sh -c "$say"
}

@test "unconfined sets nothing where there is no filter" {
    starts_with 'Seccomp:	0' "${bare[@]}" --annotation "$pod=unconfined" -- cat /proc/self/status
}

@test "runtime/default keeps the filter that is there" {
    starts_with 'Timer expired' --security-opt "seccomp=$files/other.json" --annotation "$pod=runtime/default" -- sh -c "$say"
}

@test "docker/default keeps the filter that is there" {
    starts_with 'Timer expired' --security-opt "seccomp=$files/other.json" --annotation "$pod=docker/default" -- sh -c "$say"
}

@test "runtime/default sets the engine's default where there is no filter" {
    starts_with 'Seccomp:	2' "${bare[@]}" --annotation "$pod=runtime/default" -- cat /proc/self/status
}

@test "docker/default sets the engine's default where there is no filter" {
    starts_with 'Seccomp:	2' "${bare[@]}" --annotation "$pod=docker/default" -- cat /proc/self/status
}

@test "runtime/default sets the file of runtime_default" {
    settle "runtime_default = \"$work/default.json\""
    starts_with 'Out of streams resources' "${bare[@]}" --annotation "$pod=runtime/default" -- sh -c "$say"
}

@test "replace_default = \"never\" refuses a stricter profile too" {
    settle 'replace_default = "never"'
    stops 8 'replace_default = "never"' --annotation "$pod=$local_ref/stricter.json"
}

@test "require refuses a container without a filter" {
    settle 'require = "any-filter"'
    stops 10 'require = "any-filter"' "${bare[@]}"
}

@test "require refuses unconfined without a filter" {
    settle 'require = "any-filter"'
    stops 10 'require = "any-filter"' "${bare[@]}" --annotation "$pod=unconfined"
}

@test "require accepts any filter" {
    settle 'require = "any-filter"'
    starts_with it-started -- echo it-started
}

@test "warn starts the container, and a warning is told" {
    settle 'mode = "warn"'
    starts_with it-started --annotation "$pod=$local_ref/none.json" -- echo it-started
    told warned 0 'no such file'
}

@test "an annotation of crun that hook.toml allows may stand beside a profile" {
    settle 'replace_default = "any"' 'allow_runtime_annotations = ["run.oci.handler"]'
    starts_with 'No data available' --annotation "$selects" --annotation run.oci.handler= -- sh -c "$say"
}

@test "a container starts where nobody reads the decisions" {
    settle 'replace_default = "any"'
    kill -STOP "$listener"
    for _ in 1 2 3; do starts_with 'No data available' --annotation "$selects" -- sh -c "$say"; done
}
