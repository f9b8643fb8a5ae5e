#!/usr/bin/env bats
# What the wrapper says through the log that an engine asks the runtime to write.
# shellcheck disable=SC2154

load ../helpers

setup_file() { name_round; }
setup() { prepare; }
teardown() { tidy; }

# Podman gives --log to a runtime of a name that it knows, and shows only that file.
@test "a refusal is shown through the runtime's log" {
    mkdir "$work/known"
    cp "$work/bin/portcullis-$runtime" "$work/known/$runtime"
    code=0
    start "$work/known/$runtime" "$hooks_verify" --annotation "$pod=$local_ref/none.json" -- echo it-started \
        >"$out" 2>&1 || code=$?
    grep -q 'annotation.*reference.*no such file' "$out" || fail 'it is not'
    never_starts
}

@test "the runtime's log gets one line of JSON" {
    mkdir "$work/bundle"
    jq -n --arg pod "$pod" '{ociVersion: "1.0.2", process: {}, linux: {},
        annotations: {($pod): "localhost/operator/none.json"}}' >"$work/bundle/config.json"
    code=0
    "$work/bin/portcullis-$runtime" --log "$work/log" --log-format json create --bundle "$work/bundle" x \
        >"$out" 2>&1 || code=$?
    [ "$code" -eq 6 ] || fail "exit code $code"
    [ "$(wc -l <"$work/log")" -eq 1 ] || fail "not one line: $(cat "$work/log")"
    jq -e '.level == "error" and (.msg | contains("no such file"))' "$work/log" || fail "$(cat "$work/log")"
}
