#!/usr/bin/env bats
# What an annotation does to a real container: the filter it gets, or why it does not start.
# shellcheck disable=SC2016,SC2154

load ../helpers

setup_file() { name_round; }
setup() {
    prepare
    write_settings 'replace_default = "any"' # the engine's own is there in most cases
}
teardown() { tidy; }

@test "an annotation selects the filter of the container's init" {
    starts_with 'No data available' --annotation "$selects" -- sh -c "$say"
}

@test "what is left of a container is seen by these tests" {
    go --detach --name seen --annotation "$selects" -- sleep 600
    ! is_clean || fail 'a running container is not seen'
}

@test "the filter is that of what is executed into the container too" {
    go --detach --name entered --annotation "$selects" -- sleep 600
    pm --runtime "$runtime" exec entered mkdir /tmp/x >"$out" 2>&1 || true
    says 'No data available' || fail 'exec is not filtered'
}

@test "a container annotation beats the pod's" {
    starts_with 'Timer expired' --annotation io.kubernetes.container.name=app --annotation "$selects" \
        --annotation "$container/app=$local_ref/other.json" -- sh -c "$say"
}

@test "a sibling's annotation does nothing" {
    mkdir_works --annotation io.kubernetes.container.name=app --annotation "$container/sibling=$local_ref/missing.json"
}

@test "no annotation changes nothing" { mkdir_works; }

@test "unconfined keeps the engine's filter" {
    starts_with 'Seccomp:	2' --annotation "$pod=unconfined" -- sh -c 'cat /proc/self/status'
}

@test "a filter that is given by an option and differs is a conflict" {
    does_not_start --security-opt "seccomp=$files/other.json" --annotation "$selects"
}

@test "a filter that is given by an option and is equal is accepted" {
    jq '.syscalls += [.syscalls[0]] | .syscalls[0].comment = "again"' "$files/no-mkdir.json" >"$work/equal.json"
    starts_with 'No data available' --security-opt "seccomp=$work/equal.json" --annotation "$selects" -- sh -c "$say"
}

@test "a missing file is refused" { refuses 6 'no such file' --annotation "$pod=$local_ref/missing.json"; }

@test "a reference that leaves the root is refused" {
    refuses 5 'leaves the seccomp root' --annotation "$pod=localhost/../x.json"
}

@test "an absolute path is refused" { refuses 5 'absolute path' --annotation "$pod=localhost//etc/passwd"; }

@test "a link is refused" {
    ln -s no-mkdir.json "$files/link.json"
    refuses 7 'link' --annotation "$pod=$local_ref/link.json"
}

@test "a linked folder is refused" {
    mkdir "$files/folder"
    cp "$files/no-mkdir.json" "$files/folder/x.json"
    ln -s folder "$files/linked"
    refuses 7 'link' --annotation "$pod=$local_ref/linked/x.json"
}

@test "a folder is refused" {
    mkdir "$files/folder"
    refuses 7 'not a regular file' --annotation "$pod=$local_ref/folder"
}

@test "a FIFO is refused" {
    mkfifo "$files/fifo.json"
    refuses 7 'not a regular file' --annotation "$pod=$local_ref/fifo.json"
}

@test "a file of 100 MB is refused" {
    truncate -s 100M "$files/big.json"
    refuses 7 'larger than' --annotation "$pod=$local_ref/big.json"
}

@test "what is not JSON is refused" {
    echo 'not json' >"$files/text.json"
    refuses 7 'not valid' --annotation "$pod=$local_ref/text.json"
}

@test "deep nesting is refused" {
    printf '%0.s[' {1..10000} >"$files/deep.json"
    refuses 7 'not valid' --annotation "$pod=$local_ref/deep.json"
}

@test "an unknown action is refused with its place" {
    jq '.syscalls[0].action = "SCMP_ACT_ALOW"' "$files/no-mkdir.json" >"$files/action.json"
    refuses 7 'syscalls[0].action' --annotation "$pod=$local_ref/action.json"
}

@test "a mistyped call is refused with the nearest name" {
    denying mkdri 61 >"$files/name.json"
    refuses 7 '"mkdir"' --annotation "$pod=$local_ref/name.json"
}

@test "a document without defaultAction is refused" {
    echo '{}' >"$files/empty.json"
    refuses 7 'defaultAction' --annotation "$pod=$local_ref/empty.json"
}

@test "control characters are refused and not repeated" {
    refuses 5 'control character' --annotation "$pod=$local_ref/$(printf '\033[31m').json"
}

@test "a stricter rule that the runtime's libseccomp does not know is refused" {
    denying mseal 61 >"$files/unknown.json"
    refuses 12 'mseal' --annotation "$pod=$local_ref/unknown.json"
}

@test "container annotations without a container name are refused" {
    refuses 5 'does not name the container' --annotation "$container/app=$local_ref/no-mkdir.json"
}

@test "crun's own filter annotation is refused beside a profile" {
    refuses 11 'ignore or replace' --annotation "$selects" --annotation run.oci.seccomp_bpf_data=AAAA
}

# verify is in warn mode too, so the container starts without the profile.
@test "mode = \"warn\" starts the container anyway" {
    write_settings 'mode = "warn"'
    starts_with it-started --annotation "$pod=$local_ref/missing.json" -- echo it-started
}

@test "a file that arrives within wait_ms is used" {
    sed -i 's/^wait_ms = .*/wait_ms = 2400/' "$settings"
    cp "$files/no-mkdir.json" "$files/.late.json"
    # It arrives once the gate's process is there, whatever the machine took to come that far.
    (within 60 pgrep -f "portcullis-(hook|runtime) .*$settings" >/dev/null
        mv "$files/.late.json" "$files/late.json") 3>&- &
    starts_with 'No data available' --annotation "$pod=$local_ref/late.json" -- sh -c "$say"
}

@test "broken settings let start what selects nothing" {
    echo 'mod = "warn"' >"$settings"
    starts_with it-started -- echo it-started
}

@test "broken settings refuse what selects something" {
    echo 'mod = "warn"' >"$settings"
    refuses 3 'unknown field' --annotation "$selects"
}

@test "by default a profile that is looser than the engine's is a conflict" {
    write_settings
    does_not_start --annotation "$selects"
}
