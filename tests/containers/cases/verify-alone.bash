#!/usr/bin/env bats
# verify where nothing before it set the filter.
# shellcheck disable=SC2034,SC2154

load ../helpers

setup_file() { name_round; }
setup() { prepare; }
teardown() { tidy; }

@test "verify alone refuses a container that nothing filtered as selected" {
    write_settings 'replace_default = "any"'
    code=0
    start "$runtime" "$hooks_verify" --annotation "$selects" -- echo it-started >"$out" 2>&1 || code=$?
    never_starts
}
