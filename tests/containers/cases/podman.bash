#!/usr/bin/env bats
# Podman's own ways of starting containers: hook folders in containers.conf, restarts, pods; and hooks of others at
# the stage before a container is created.
# shellcheck disable=SC2016,SC2154

load ../helpers

setup_file() { name_round; }
setup() {
    prepare
    write_settings 'replace_default = "any"'
    # Podman alone reads this stage; the wrapper comes after it.
    hooks=$hooks_both by=$runtime
    [ "$way" = inject ] || hooks=$hooks_verify by=$work/bin/portcullis-$runtime
    # One line for each start: what became of mkdir.
    counts='mkdir /tmp/x 2>>/tmp/starts || exit 1; echo made >>/tmp/starts; exit 1'
}
teardown() { tidy; }

# configured OPTION... — podman with the hooks in containers.conf.
configured() {
    printf '[engine]\nhooks_dir = ["%s"]\n' "$hooks" >"$work/containers.conf"
    CONTAINERS_CONF=$work/containers.conf pm --runtime "$by" "$@" >"$out" 2>&1
}

# filtered COUNT — so many starts were seen, and in none could mkdir be called.
has_started() { [ "$(wc -l <"$rootfs/tmp/starts")" -ge "$1" ]; }
filtered() {
    within 120 has_started "$1" 2>/dev/null || fail "not $1 starts: $(cat "$rootfs/tmp/starts")"
    [ "$(grep -c 'No data available' "$rootfs/tmp/starts")" -eq "$(wc -l <"$rootfs/tmp/starts")" ] ||
        fail "not each is filtered: $(cat "$rootfs/tmp/starts")"
}

# other FILE SCRIPT — one more precreate hook; its place is that of its file's name.
other() {
    printf '#!/bin/sh\n%s\n' "$2" >"$work/$1.sh"
    chmod +x "$work/$1.sh"
    jq -n --arg path "$work/$1.sh" '{version: "1.0.0", hook: {path: $path}, when: {always: true}, stages: ["precreate"]}' \
        >"$hooks/$1.json"
}

@test "each start that a restart policy makes is filtered" {
    configured run --detach --network none "${limits[@]}" --restart on-failure:2 --annotation "$selects" --rootfs "$rootfs" \
        sh -c "$counts" || fail 'it does not start'
    filtered 3
}

@test "podman restart, and stop and start, keep the filter" {
    configured run --detach --name again --network none "${limits[@]}" --annotation "$selects" --rootfs "$rootfs" \
        sh -c 'mkdir /tmp/x 2>>/tmp/starts; exec sleep 600' || fail 'it does not start'
    filtered 1
    configured restart --time 0 again || fail 'it does not restart'
    filtered 2
    configured stop --time 0 again
    configured start again || fail 'it does not start again'
    filtered 3
}

@test "a profile that is gone when a container is started again refuses it" {
    configured run --detach --name again --network none "${limits[@]}" --annotation "$selects" --rootfs "$rootfs" \
        sh -c 'mkdir /tmp/x 2>>/tmp/starts; exec sleep 600' || fail 'it does not start'
    filtered 1
    configured stop --time 0 again
    rm "$files/no-mkdir.json"
    ! configured start again || fail 'it starts'
    [ "$(wc -l <"$rootfs/tmp/starts")" -eq 1 ] || fail 'it ran'
}

@test "a container of a pod is filtered" {
    configured pod create --infra=false --name pod || fail 'there is no pod'
    configured run --pod pod --network none "${limits[@]}" --annotation "$selects" --rootfs "$rootfs" sh -c "$say" || true
    says 'No data available' || fail 'mkdir works'
    configured pod rm --force pod
}

@test "a hook of others that changes the configuration before ours is kept" {
    other 00-other 'exec jq -c ".process.env += [\"OTHER=here\"]"'
    go --annotation "$selects" -- sh -c 'echo $OTHER; mkdir /tmp/x'
    says here || fail 'it is not'
    says 'No data available' || fail 'mkdir works'
}

# The wrapper sets it after every hook of this stage.
@test "a hook of others that takes the filter out after ours starts nothing without it" {
    other zz-other 'exec jq -c "del(.linux.seccomp)"'
    if [ "$way" = inject ]; then
        does_not_start --annotation "$selects"
    else
        starts_with 'No data available' --annotation "$selects" -- sh -c "$say"
    fi
}

@test "a hook of others that takes the engine's filter out leaves the selected one" {
    other 00-other 'exec jq -c "del(.linux.seccomp)"'
    go --annotation "$selects" -- sh -c "$say"
    says 'No data available' || fail "mkdir works (exit code $code)"
}

@test "a hook of others that fails starts nothing" {
    other 00-other 'cat >/dev/null; exit 3'
    does_not_start --annotation "$selects"
}

# Podman may take that for no change, or for an error.
@test "a hook of others that prints nothing starts nothing without the filter" {
    for file in 00-other zz-other; do
        rm -f "$hooks"/*-other.json
        other "$file" 'cat >/dev/null'
        go --annotation "$selects" -- sh -c "$say"
        says 'No data available' || [ "$code" -ne 0 ] || fail 'it started without the filter'
    done
}

@test "several profiles by option: a file, unconfined and the engine's own" {
    go "${bare[@]}" --annotation "$selects" -- sh -c "$say"
    says 'No data available' || fail 'unconfined: mkdir works'
    go --security-opt "seccomp=$files/no-mkdir.json" --annotation "$selects" -- sh -c "$say"
    says 'No data available' || fail 'the same file: mkdir works'
    go --annotation "$selects" -- sh -c "$say"
    says 'No data available' || fail "the engine's own: mkdir works"
    does_not_start --security-opt seccomp=/no/such/file.json --annotation "$selects"
}
