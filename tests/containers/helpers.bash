# shellcheck shell=bash
# What the cases on real containers share. Each case has its own root file system, seccomp root, settings, hooks and
# engine storage, in a folder that goes with it; no case sees what another one did.
# shellcheck disable=SC2034,SC2119,SC2154

containers=$(dirname "${BASH_SOURCE[0]}")
local_ref=localhost/operator
say='mkdir /tmp/x; echo $?; rmdir /tmp/x 2>/dev/null'
bare=(--security-opt seccomp=unconfined)

# prepare — in setup: what each case finds.
prepare() {
    # shellcheck source=tests/lib.sh
    . "$containers/../lib.sh"
    find_round
    files=$seccomp_root/operator
    mkdir -p "$files"
    make_rootfs
    make_wrappers
    write_settings
    make_hooks
    denying mkdir 61 >"$files/no-mkdir.json"
    denying mkdir 62 >"$files/other.json"
    selects="$pod=$local_ref/no-mkdir.json"
}

# find_round — the runtime and the way by the name of the folder in which a file of cases lies, mostly as a link.
find_round() {
    local folder=${BATS_TEST_FILENAME%/*}
    folder=${folder##*/}
    runtime=${folder%-*} way=${folder#*-}
}

# name_round — in setup_file: the names of its cases begin with the round.
name_round() {
    find_round
    export BATS_TEST_NAME_PREFIX="[$runtime, $way] "
}

# tidy — in teardown: nothing of the case stays, whatever became of it.
tidy() {
    local left
    left=$(pm ps --all --quiet 2>/dev/null) || true
    [ -z "$left" ] || pm rm --all --force --time 0 >/dev/null 2>&1 || true
    umount -l "$work/storage" 2>/dev/null || true
}

# fail TEXT — the case fails; what the last container printed is shown.
fail() {
    echo "$1"
    [ ! -e "$out" ] || head -c 4000 "$out"
    return 1
}

says() { grep -qF -- "$1" "$out"; }

# starts_with TEXT OPTION... -- COMMAND... — a container whose output has the text.
starts_with() {
    local text=$1
    shift
    go "$@"
    says "$text" || fail "no \"$text\" (exit code $code)"
}

# mkdir_works OPTION... — a container in which mkdir works.
mkdir_works() {
    go "$@" -- sh -c "$say"
    [ "$(cat "$out")" = 0 ] || fail 'mkdir does not work'
}

# never_starts — of the last container, which would have printed it-started.
never_starts() {
    ! says it-started || fail 'it started'
    [ "$code" -ne 0 ] || fail 'exit code 0'
    nothing_left || fail 'something is left'
}

# does_not_start OPTION...
does_not_start() {
    go "$@" -- echo it-started
    never_starts
}

# refuses CODE TEXT OPTION... — nothing starts, and the hook by itself says why: crun keeps a hook's line to itself.
refuses() {
    local wanted=$1 text=$2 annotations direct=0
    shift 2
    does_not_start "$@"
    annotations=$(printf '%s\n' "$@" | grep -v '^--annotation$' |
        jq -nR '[inputs | capture("^(?<key>[^=]+)=(?<value>.*)$"; "m")] | from_entries')
    jq -n --argjson a "$annotations" '{ociVersion: "1.0.2", process: {}, linux: {}, annotations: $a}' >"$out.asked"
    "$hook" inject --engine podman --config "$settings" <"$out.asked" >"$out.config" 2>"$out" || direct=$?
    [ "$direct" -eq "$wanted" ] || fail "exit code $direct, not $wanted"
    [ ! -s "$out.config" ] || fail 'a configuration was written'
    [ "$(wc -l <"$out")" -eq 1 ] || fail 'not one line'
    grep -q 'pod .*, container .*, annotation .*, reference .*: ' "$out" || fail 'the line lacks a part'
    says "$text" || fail "the line lacks \"$text\""
    ! LC_ALL=C grep -q '[[:cntrl:]]' "$out" || fail 'the line has a control character'
}
