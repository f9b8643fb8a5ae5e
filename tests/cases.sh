# shellcheck shell=bash
# Cases on real containers that are counted: how they run, what they expect, their summary.
# To be sourced after lib.sh; the scripts that source it say the case, the runtime and the way.
# shellcheck disable=SC2154

passed=0 failed=0 skipped=0
out=$work/out

ok() { passed=$((passed + 1)); echo "ok      $case"; }
bad() {
    failed=$((failed + 1))
    echo "FAILED  $case: $1"
    sed 's/^/        /' "$out" | head -20
}

# go OPTION... -- COMMAND... — in the way of this round; output in $out, exit code in $code.
go() {
    local hooks=$hooks_both by=$runtime
    [ "$way" = wrapper ] && hooks=$hooks_verify by=$work/bin/portcullis-$runtime
    start "$by" "$hooks" "$@" >"$out" 2>&1
    code=$?
}

# Whether this test has neither runtime state nor a monitor process.
is_clean() {
    ! "$runtime" list 2>/dev/null | grep -qF "$work" && ! pgrep -f "conmon.*$work" >/dev/null
}

# The same, once podman has tidied up behind it.
nothing_left() {
    for _ in $(seq 50); do
        is_clean && return
        sleep 0.1
    done
    return 1
}

starts_with() { # TEXT OPTION... -- COMMAND...
    local text=$1
    shift
    go "$@"
    if grep -qF -- "$text" "$out"; then ok; else bad "no \"$text\" (exit code $code)"; fi
}

# refuses CODE TEXT OPTION... — nothing starts; under runc and the wrapper the text is shown.
refuses() {
    local wanted=$1 text=$2
    shift 2
    go "$@" -- echo it-started
    if grep -q it-started "$out"; then bad "it started"; return; fi
    [ "$code" -ne 0 ] || { bad "exit code 0"; return; }
    nothing_left || { bad "something is left"; return; }
    # The exit code and the line, which crun keeps to itself, by the hook alone.
    local annotations
    annotations=$(printf '%s\n' "$@" | grep -v '^--annotation$' |
        jq -nR '[inputs | capture("^(?<key>[^=]+)=(?<value>.*)$"; "m")] | from_entries')
    jq -n --argjson a "$annotations" '{ociVersion: "1.0.2", process: {}, linux: {}, annotations: $a}' |
        "$hook" inject --engine podman --config "$settings" >"$out.config" 2>"$out"
    local direct=$?
    [ "$direct" -eq "$wanted" ] || { bad "exit code $direct, not $wanted"; return; }
    [ ! -s "$out.config" ] || { bad "a configuration was written"; return; }
    [ "$(wc -l <"$out")" -eq 1 ] || { bad "not one line"; return; }
    grep -q 'pod .*, container .*, annotation .*, reference .*: ' "$out" || { bad "the line lacks a part"; return; }
    grep -qF -- "$text" "$out" || { bad "the line lacks \"$text\""; return; }
    ! LC_ALL=C grep -q '[[:cntrl:]]' "$out" || { bad "the line has a control character"; return; }
    ok
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

summary() { # NAME — the last line and the exit code of a test
    echo "$1: $passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
}
