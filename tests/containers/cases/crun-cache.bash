#!/usr/bin/env bats
# crun's cache of compiled filters. Debian's crun has none, so a hook before ours stands in for one that has: it puts a
# program where crun would have linked one from its cache.
# shellcheck disable=SC2154

load ../helpers

setup_file() { name_round; }
setup() {
    prepare
    state=${XDG_RUNTIME_DIR:-/run}/crun
    [ "$(id -u)" != 0 ] || state=/run/crun
}
teardown() { tidy; }

# compiled PROFILE — its program as crun has it, in $work/program.
compiled() {
    local id
    id=$(pm --runtime crun run --detach --network none "${limits[@]}" --security-opt "seccomp=$files/$1" \
        --rootfs "$rootfs" sleep 600)
    cp "$state/$id/seccomp.bpf" "$work/program"
    [ -s "$work/program" ] || fail 'crun kept no program'
    pm rm --force --time 0 "$id" >/dev/null
}

# cached — from now on crun has this program for every filter before hooks run.
cached() {
    # shellcheck disable=SC2016 # expanded by the hook
    printf '#!/bin/sh\nid=$(jq -r .id)\ncat %q >%q/"$id"/seccomp.bpf\n' "$work/program" "$state" >"$work/cache"
    chmod +x "$work/cache"
    local folder
    for folder in "$hooks_both" "$hooks_verify"; do
        jq -n --arg path "$work/cache" '{version: "1.0.0", hook: {path: $path}, when: {always: true},
            stages: ["createRuntime"]}' >"$folder/a-cache.json"
    done
}

# refused_for_the_cache OPTION...
refused_for_the_cache() {
    does_not_start "$@"
    grep -qE 'exit (code:|status) 16' "$out" || fail 'it is refused for another reason'
}

@test "a program of another errno in crun's cache is refused, whoever set the filter" {
    compiled other.json
    cached
    refused_for_the_cache "${bare[@]}" --annotation "$selects"
    refused_for_the_cache --security-opt "seccomp=$files/no-mkdir.json"
    # What has the program's own filter, or none, starts.
    starts_with it-started --security-opt "seccomp=$files/other.json" -- echo it-started
    starts_with it-started "${bare[@]}" -- echo it-started
}

@test "the selected filter's own program in crun's cache is accepted" {
    compiled no-mkdir.json
    cached
    starts_with it-started "${bare[@]}" --annotation "$selects" -- echo it-started
    starts_with it-started --security-opt "seccomp=$files/no-mkdir.json" -- echo it-started
}

@test "what is no program in crun's cache is refused" {
    printf 'no program' >"$work/program"
    cached
    refused_for_the_cache "${bare[@]}" --annotation "$selects"
}

@test "the cache of a crun of another name, such as krun, counts too" {
    ln -s "$(command -v crun)" "$work/krun"
    compiled other.json
    cached
    code=0
    # shellcheck disable=SC2034
    start "$work/krun" "$hooks_verify" --security-opt "seccomp=$files/no-mkdir.json" -- echo it-started \
        >"$out" 2>&1 || code=$?
    never_starts
    grep -qE 'exit (code:|status) 16' "$out" || fail 'it is refused for another reason'
}
