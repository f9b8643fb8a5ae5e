#!/usr/bin/env bats
# What the wrapper makes of command lines: help and errors are the runtime's, and whatever bundle the runtime would
# read is the one that gets the filter, or the line is refused.
# shellcheck disable=SC2030,SC2031,SC2154

load ../helpers

setup_file() { name_round; }
setup() {
    prepare
    by=$work/bin/portcullis-$runtime
    # Not a whole configuration, so that no container comes of it: what the wrapper wrote into it is what counts.
    mkdir "$work/a" "$work/b"
    for bundle in a b; do
        jq -n --arg pod "$pod" '{ociVersion: "1.0.2", linux: {},
            annotations: {($pod): "localhost/operator/no-mkdir.json"}}' >"$work/$bundle/config.json"
    done
    cd "$work" || return
}
teardown() { tidy; }

# calls WORD... — the wrapper with these words; its output in $out, its exit code in $code.
calls() {
    code=0
    "$by" --root "$work/root" "$@" >"$out" 2>&1 || code=$?
}

# sets BUNDLE WORD... — the filter gets into this bundle and into no other.
sets() {
    local bundle=$1 other=b
    shift
    [ "$bundle" = a ] || other=a
    calls "$@"
    jq -e '.linux.seccomp' "$work/$bundle/config.json" >/dev/null || fail "$bundle has no filter: $*"
    jq -e '.linux.seccomp | not' "$work/$other/config.json" >/dev/null || fail "$other has a filter: $*"
}

@test "help and usage errors are the runtime's own" {
    local line words
    cd "$rootfs" || return
    for line in 'create --help' 'run --help' 'create' 'create --bundle' 'run one two'; do
        read -ra words <<<"$line"
        calls "${words[@]}"
        ! says portcullis: || fail "the wrapper answers: $line"
        "$runtime" --root "$work/root" "${words[@]}" >"$out.plain" 2>&1 || [ $? -eq "$code" ] || fail "another exit code: $line"
        [ -s "$out" ] || fail "nothing is said: $line"
    done
}

@test "the bundle is found in every spelling that the runtime honours" {
    if [ "$runtime" = crun ]; then
        sets b create -b"$work/b" x
    else
        sets b create x -bundle="$work/b"
    fi
}

@test "an abbreviated bundle is the same one to wrapper and runtime, or refused" {
    if [ "$runtime" = crun ]; then
        sets b create --bund "$work/b" x
    else
        calls create --bund "$work/b" x
        [ "$code" -eq 2 ] || fail "exit code $code"
        says "option --bund, so it" || fail 'it is not named'
    fi
}

@test "another configuration file is refused, in every spelling" {
    local words
    for words in --config "--config=$work/b/config.json" -f "-f$work/b/config.json"; do
        case $words in
        --config | -f) words="$words $work/b/config.json" ;;
        esac
        read -ra words <<<"$words"
        calls run "${words[@]}" --bundle "$work/a" x
        [ "$code" -ne 0 ] || fail "it runs: ${words[*]}"
        # runc has no -f: that is its own usage error.
        [ "$runtime" = runc ] && [[ ${words[0]} = -f* ]] && continue
        [ "$code" -eq 2 ] || fail "exit code $code: ${words[*]}"
        says --config || fail "it is not named: ${words[*]}"
    done
    ! jq -e '.linux.seccomp' "$work"/[ab]/config.json >/dev/null || fail 'a bundle was changed'
}

@test "a FIFO in the place of a configuration is refused at once" {
    rm "$work/a/config.json"
    mkfifo "$work/a/config.json"
    code=0
    timeout 20 "$by" create --bundle "$work/a" x >"$out" 2>&1 || code=$?
    [ "$code" -eq 4 ] || fail "exit code $code"
    says 'not a regular file' || fail 'it does not say why'
}

@test "restore is refused for what selects a profile" {
    calls restore --bundle "$work/a" x
    [ "$code" -eq 9 ] || fail "exit code $code"
    says "restoring loads the filter from the checkpoint's image" || fail 'it does not say why'
}

@test "an annotation that makes crun write to a file is refused before a file is there" {
    does_not_start --annotation "run.oci.hooks.stderr=$work/written"
    [ ! -e "$work/written" ] || fail 'the file is there'
}

@test "a link for a runtime that is not there runs no other" {
    ln -s "$wrapper" "$work/portcullis-youki"
    code=0
    "$work/portcullis-youki" --portcullis-config "$settings" --version >"$out" 2>&1 || code=$?
    [ "$code" -eq 3 ] || fail "exit code $code"
    says 'no youki in' || fail 'it does not say which'
}

@test "a mistake in hook.toml changes no runtime" {
    printf '#!/bin/sh\necho the-right-one\n' >"$work/right"
    chmod +x "$work/right"
    write_settings 'nonsense = ' '[runtimes]' "portcullis-$runtime = \"$work/right\""
    ln -s "$wrapper" "$work/portcullis-$runtime"
    "$work/portcullis-$runtime" --portcullis-config "$settings" --version >"$out" 2>&1
    says the-right-one || fail 'another runtime was executed'
    write_settings '[runtimes]' 'default = 3'
    code=0
    "$work/portcullis-$runtime" --portcullis-config "$settings" --version >"$out" 2>&1 || code=$?
    [ "$code" -eq 3 ] || fail "exit code $code"
}
