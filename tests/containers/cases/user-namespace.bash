#!/usr/bin/env bats
# Containers with a user namespace and a device: there crun tells its hooks that the bundle is "/".
# shellcheck disable=SC2154

load ../helpers

setup_file() { name_round; }
setup() {
    prepare
    # Bats' own folders are root's alone; the container's root is somebody else.
    elsewhere=$(mktemp -d /tmp/portcullis-userns.XXXXXX)
    chmod 755 "$elsewhere"
    mv "$rootfs" "$elsewhere/rootfs"
    rootfs=$elsewhere/rootfs
    chown -R 100000:100000 "$rootfs"
    mapped=(--uidmap 0:100000:65536 --device /dev/full)
}
teardown() {
    tidy
    rm -rf "$elsewhere"
}

@test "a container with a user namespace and a device starts where nothing is selected" {
    starts_with it-started "${mapped[@]}" -- echo it-started
}

@test "a container with a user namespace and a device gets the selected filter" {
    go "${mapped[@]}" "${bare[@]}" --annotation "$selects" -- sh -c "$say"
    says 'mkdir: can' || fail "mkdir works (exit code $code)"
}

@test "verify reads the right configuration of a container with a user namespace and a device" {
    code=0
    start "$runtime" "$hooks_verify" "${mapped[@]}" "${bare[@]}" --annotation "$selects" -- echo it-started \
        >"$out" 2>&1 || code=$?
    never_starts
    grep -qE 'exit (code:|status) 9' "$out" || fail 'it is refused for another reason than the missing filter'
}
