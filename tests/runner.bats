#!/usr/bin/env bats
# tests/run itself, on suites that are made up: nothing that goes wrong may pass.
# shellcheck disable=SC2030,SC2031 # each case is a subshell

setup() {
    run_suites=$BATS_TEST_DIRNAME/run
    list=$BATS_TEST_TMPDIR/suites
}

# suites LINE... — the list of this case, run with ARGUMENTS; the output is $output, the last line ${lines[-1]}.
suites() {
    printf '%s\n' "$@" >"$list"
    run "$run_suites" --suites "$list" --logs "$BATS_TEST_TMPDIR/logs" "${arguments[@]}"
    echo "$output"
}
arguments=()
has() { grep -qF -- "$1" <<<"$output"; }
ends_with() { # CODE TEXT
    [ "$status" -eq "$1" ]
    [ "${lines[-1]}" = "$2" ]
}

good="echo 'good: 2 passed, 0 failed, 0 skipped'"

@test "totals of all suites are alone on the last line" {
    suites "suite one line - \"$good\"" \
        "suite two cargo - \"printf 'test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured\\ntest result: ok. 4 passed; 0 failed; 0 ignored\\n'\"" \
        "suite three tap - \"printf '1..3\\nok 1 a\\nok 2 b in 3ms\\nok 3 c # skip no such thing\\n'\""
    ends_with 0 '11 passed, 0 failed, 2 skipped'
}

@test "each suite's time and counts are in the summary" {
    suites "suite one line - \"$good\""
    grep -qE '^ +[0-9]+ s  one +2 passed, 0 failed, 0 skipped$' <<<"$output"
}

@test "a suite with a failed case fails the run and is shown" {
    suites "suite bad line - \"echo what-it-said; echo 'bad: 1 passed, 2 failed, 0 skipped'; exit 1\"" "suite one line - \"$good\""
    ends_with 1 '3 passed, 2 failed, 0 skipped'
    has what-it-said
}

@test "failed cases fail the run though the suite ends with 0" {
    suites "suite bad line - \"echo 'bad: 1 passed, 1 failed, 0 skipped'\""
    ends_with 1 '1 passed, 1 failed, 0 skipped'
}

@test "a case that passed only when it was repeated is named" {
    suites "suite moody line - \"echo 'REPEATED a_case: it passed alone'; $good\""
    ends_with 0 '2 passed, 0 failed, 0 skipped'
    has 'PASSED ONLY WHEN REPEATED'
    has '  moody: a_case: it passed alone'
}

@test "a suite that fails beside others is run again alone, and named if it passes" {
    suites "suite moody line - \"if [ -e '$BATS_TEST_TMPDIR/once' ]; then $good; else touch '$BATS_TEST_TMPDIR/once'; echo 'moody: 1 passed, 1 failed, 0 skipped'; exit 1; fi\""
    ends_with 0 '2 passed, 0 failed, 0 skipped'
    has 'PASSED ONLY WHEN REPEATED'
    has '  moody: the suite: it passed alone'
    has 'moody: 1 passed, 1 failed'
}

@test "a suite of Cargo is not run again" {
    suites "suite bad cargo - \"echo run >>'$BATS_TEST_TMPDIR/runs'; echo 'test result: FAILED. 1 passed; 1 failed; 0 ignored'; exit 101\""
    ends_with 1 '1 passed, 1 failed, 0 skipped'
    [ "$(wc -l <"$BATS_TEST_TMPDIR/runs")" = 1 ]
}

@test "a suite that dies without its counts has failed" {
    suites "suite dead line - 'echo ok; kill -KILL \$\$'" "suite one line - \"$good\""
    ends_with 1 '2 passed, 1 failed, 0 skipped'
}

@test "a suite that ends well without its counts has failed" {
    suites "suite mute line - 'echo ok'"
    ends_with 1 '0 passed, 1 failed, 0 skipped'
    has 'it says no counts'
}

@test "a suite that counts nothing has failed" {
    suites "suite empty tap - 'echo 1..0'"
    ends_with 1 '0 passed, 1 failed, 0 skipped'
    has 'no case was run'
}

@test "cases that were planned and not run have failed" {
    suites "suite cut tap - \"printf '1..4\\nok 1 a\\nnot ok 2 b\\n'\""
    ends_with 1 '1 passed, 3 failed, 0 skipped'
}

@test "a suite that ends badly with good counts has failed" {
    suites "suite odd line - \"$good; exit 7\""
    ends_with 1 '2 passed, 1 failed, 0 skipped'
    has 'exit code 7'
}

@test "a suite that hangs is ended and has failed" {
    export SUITE_SECONDS=1
    suites "suite hung line - 'sleep 1000'"
    ends_with 1 '0 passed, 1 failed, 0 skipped'
    has 'did not end within 1 s'
}

@test "skips are counted and named" {
    suites "suite s line - \"echo 'SKIPPED s: there is no such machine'; echo 's: 0 passed, 0 failed, 1 skipped'\""
    ends_with 0 '0 passed, 0 failed, 1 skipped'
    has 's: SKIPPED s: there is no such machine'
}

@test "a build that fails fails the run, and what needs it" {
    suites "build broken 'echo no-compiler; exit 1'" "suite one line broken \"$good\"" "suite two line - \"$good\""
    ends_with 1 '2 passed, 2 failed, 0 skipped'
    has no-compiler
}

@test "only what the chosen suites need is built" {
    arguments=('o*')
    suites "build broken 'exit 1'" "suite one line - \"$good\"" "suite two line broken \"$good\""
    ends_with 0 '2 passed, 0 failed, 0 skipped'
}

@test "suites run side by side in as many lanes as told" {
    arguments=(--lanes 2)
    # Each waits for the other: one after the other, neither would end.
    export SUITE_SECONDS=60 meet="$BATS_TEST_TMPDIR/meet"
    suites "suite a line - \"touch \$meet.a; until [ -e \$meet.b ]; do sleep 0.1; done; $good\"" \
        "suite b line - \"touch \$meet.b; until [ -e \$meet.a ]; do sleep 0.1; done; $good\""
    ends_with 0 '4 passed, 0 failed, 0 skipped'
}

@test "a suite whose needs are built does not wait for the other builds" {
    export SUITE_SECONDS=60 meet="$BATS_TEST_TMPDIR/meet"
    suites "build first 'touch \$meet.first'" "build slow 'until [ -e \$meet.one ]; do sleep 0.1; done'" \
        "suite last line slow \"$good\"" "suite one line first \"[ -e \$meet.first ] && touch \$meet.one; $good\""
    ends_with 0 '4 passed, 0 failed, 0 skipped'
}

@test "builds are made one after the other" {
    export meet="$BATS_TEST_TMPDIR/meet"
    suites "build a 'touch \$meet; sleep 1; rm \$meet'" "build b '[ ! -e \$meet ]'" \
        "suite one line a \"$good\"" "suite two line b \"$good\""
    ends_with 0 '4 passed, 0 failed, 0 skipped'
}

@test "a need that nothing builds is a usage error" {
    suites "suite one line nothing \"$good\""
    [ "$status" -eq 2 ]
    has "suite one needs 'nothing', which nothing builds"
    # Nor is another suite a build.
    suites "suite one line - \"$good\"" "suite two line one \"$good\""
    [ "$status" -eq 2 ]
    has "suite two needs 'one', which nothing builds"
}

@test "a suite with the name of a build is a usage error" {
    # The end of one would be taken for the end of the other.
    suites "build one 'true'" "suite one line - \"$good\""
    [ "$status" -eq 2 ]
    has 'suite one has the name of another suite or build'
}

@test "an unknown suite is a usage error" {
    arguments=(none)
    suites "suite one line - \"$good\""
    [ "$status" -eq 2 ]
    has "there is no suite 'none'"
}

@test "the list of this repository is whole" {
    run "$run_suites" --list
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -gt 15 ]
}
