# shellcheck shell=bash
# Cases on real containers that a script counts, and their summary. To be sourced after lib.sh; the scripts that
# source it say the case. What is bats counts by itself.
# shellcheck disable=SC2034,SC2154

passed=0 failed=0 skipped=0

ok() { passed=$((passed + 1)); echo "ok      $case"; }
bad() {
    failed=$((failed + 1))
    echo "FAILED  $case: $1"
    sed 's/^/        /' "$out" | head -20
}

summary() { # NAME — the last line and the exit code of a test
    echo "$1: $passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
}
