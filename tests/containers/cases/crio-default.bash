#!/usr/bin/env bats
# What runtime/default means under CRI-O where its handlers have default profiles of their own. Podman and its conmon
# stand in for CRI-O, and lay over /etc for CRI-O's configuration.
# shellcheck disable=SC2034,SC2154

load ../helpers

setup_file() { name_round; }
setup() {
    prepare
    handler all 61
    handler own 62
    jq '.hook.args |= map(if . == "podman" then "cri-o" else . end)' "$hooks_verify/portcullis-verify.json" >"$work/verify.json"
    mv "$work/verify.json" "$hooks_verify/portcullis-verify.json"
    mkdir -p "$work/etc/crio" "$work/etc.work"
    configuration >"$work/etc/crio/crio.conf"
    mount -t overlay overlay -o "lowerdir=/etc,upperdir=$work/etc,workdir=$work/etc.work" /etc
}
teardown() {
    tidy
    umount -l /etc
}

# handler NAME ERRNO — the wrapper by the name of a handler, and a default profile that denies mkdir with this errno.
handler() {
    sed 's/--portcullis-engine podman/--portcullis-engine cri-o/' "$work/bin/portcullis-$runtime" >"$work/bin/$1"
    chmod +x "$work/bin/$1"
    denying mkdir "$2" >"$work/$1.json"
}

configuration() {
    printf '[crio.runtime]\nseccomp_profile = "%s"\n' "$work/all.json"
    printf '[crio.runtime.runtimes.all]\nruntime_path = "%s"\n' "$work/bin/all"
    printf '[crio.runtime.runtimes.own]\nruntime_path = "%s"\nseccomp_profile = "%s"\n' "$work/bin/own" "$work/own.json"
}

# by HANDLER COMMAND... — a container without a filter whose annotation says runtime/default.
by() {
    local name=$1
    shift
    code=0
    start "$work/bin/$name" "$hooks_verify" "${bare[@]}" --annotation "$pod=runtime/default" -- "$@" >"$out" 2>&1 || code=$?
}

@test "runtime/default is the profile of the handler that made the container" {
    by all sh -c "$say"
    says 'No data available' || fail 'not the profile for all handlers'
    by own sh -c "$say"
    says 'Timer expired' || fail "not the handler's own"
}

@test "runtime/default is refused where two handlers with one path have different profiles" {
    printf '[crio.runtime.runtimes.other]\nruntime_path = "%s"\n' "$work/bin/own" >>/etc/crio/crio.conf
    by own echo it-started
    never_starts
    says 'the handlers other, own have different ones' || fail 'it is refused for another reason'
    by all sh -c "$say"
    says 'No data available' || fail 'the others are refused too'
}
