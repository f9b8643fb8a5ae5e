#!/usr/bin/env bats
# A container's life from create to delete, rewritten: each create selects a profile that allows nearly all. The
# runtime must answer as it does where the same filter stands in config.json.
# shellcheck disable=SC2016,SC2034,SC2154

load ../helpers
load ../bundles

# rt WORD... — the runtime; its command line's verb, output and exit code go into the transcript. Each verb has a file
# of its own: what a detached container prints comes at any time, and goes where its create printed to.
rt() {
    local code=0 printed=$work/printed.$1
    rm -f "$printed"
    "${run[@]}" "$@" >"$printed" 2>&1 || code=$?
    {
        echo "> $1: exit code $code"
        [ "$code" -ne 0 ] || cat "$printed" # what a refusal says has times and paths in it
    } >>"$transcript"
}

# is STATUS — the container comes to it.
has_status() { [ "$("${run[@]}" state "$id" 2>/dev/null | jq -r .status)" = "$1" ]; }
is() {
    within 60 has_status "$1" || fail "not $1"
    echo "is $1" >>"$transcript"
}

# lives LIFE COMMAND... — a function that leads a container through its life, with and without the gate: what the
# runtime says on the way is the same.
lives() {
    local life=$1 kind
    shift
    for kind in plain gated; do
        transcript=$out.$kind
        : >"$transcript"
        lay "$most" "$kind" "$@" || fail "it is refused: $(cat "$work/said")"
        "$life"
        "${run[@]}" delete --force "$id" >/dev/null 2>&1 || true
    done
    cp "$out.plain" "$out"
    diff "$out.plain" "$out.gated" || fail 'through the gate it is otherwise'
}

# A detached container keeps what its caller printed to open: it gets a file.
create() { rt create --bundle "$bundle" "$@" "$id" </dev/null; }

created_and_started() {
    create --pid-file "$work/pid"
    kill -0 "$(cat "$work/pid")" || fail 'the pid file names no process'
    is created
    rt start "$id"
    is running
    rt exec "$id" probe tee getpgid
    rt kill "$id" KILL
    is stopped
    rt delete "$id"
    rt state "$id"
}
@test "create, start, exec, kill and delete" {
    lives created_and_started sleep 600
    says 'tee: errno 61' || fail 'exec is not filtered'
    [ "$(grep -c 'exit code 0' "$out")" -eq 5 ] || fail 'not every step succeeds'
}

twice() {
    create
    create
    rt start "$id"
    rt start "$id"
    rt delete "$id"
    is running
}
@test "what is done twice or too early fails, and the container goes on" { lives twice sleep 600; }

never_started() {
    create
    rt kill "$id" KILL
    is stopped
    rt delete "$id"
    rt delete "$id"
    rt delete --force "$id"
}
@test "a container that is created and never started" { lives never_started sleep 600; }

listed() {
    create
    rt list --quiet
    "${run[@]}" state "$id" | jq -S 'del(.pid, .created, .bundle, .rootfs, .annotations, .owner, ."systemd-scope", ."cgroup-path")' >>"$transcript"
    rt start "$id"
    "${run[@]}" ps "$id" | wc -l >>"$transcript"
}
@test "list, state and ps" { lives listed sleep 600; }

paused() {
    create
    rt start "$id"
    rt pause "$id"
    is paused
    rt resume "$id"
    is running
}
@test "pause and resume" { lives paused sleep 600; }

ends_by_itself() {
    rt run --bundle "$bundle" "$id"
    create
    rt start "$id"
    is stopped
}
@test "run gives the container's exit code, output and signal" {
    lives ends_by_itself sh -c 'echo said; exit 3'
    says 'run: exit code 3' || fail 'it does not'
    lives ends_by_itself sh -c 'kill -TERM $$; kill -KILL $$'
}

executed() {
    create
    rt start "$id"
    is running
    rt exec --user 1000:1000 "$id" sh -c 'echo $UID; probe tee'
    rt exec --cwd /tmp --env ONE=two "$id" sh -c 'pwd; echo $ONE'
    rt exec "$id" sh -c 'exit 7'
    rt exec "$id" no-such-program
    # Fields that are left out: the runtimes differ, and each must stay as it is.
    jq -n '{args: ["probe", "tee"], cwd: "/", env: ["PATH=/bin"], user: {uid: 1000, gid: 1000}, noNewPrivileges: true}' >"$work/process"
    rt exec --process "$work/process" "$id"
    jq -n '{args: ["/bin/probe", "tee"], cwd: "/"}' >"$work/process"
    rt exec --process "$work/process" "$id"
    rt exec --detach --pid-file "$work/pid" "$id" sleep 600
    kill -0 "$(cat "$work/pid")" || fail 'the pid file names no process'
}
@test "exec as another user, with a process file, detached, and failing" { lives executed sleep 600; }

removed_while_running() {
    create
    rt start "$id"
    is running
    rt delete --force "$id"
    rt state "$id"
}
@test "delete with force" { lives removed_while_running sleep 600; }

with_files() {
    rt run --preserve-fds 2 --bundle "$bundle" "$id" 3<"$work/three" 4<"$work/four"
}
@test "files that are handed on" {
    echo three >"$work/three"
    echo four >"$work/four"
    lives with_files sh -c 'cat <&3; cat <&4'
    says four || fail 'they are not'
}

spelt() {
    cd "$bundle" || return
    rt create "$id" </dev/null
    rt delete --force "$id"
    cd "$work" || return
    rt create -b bundle "$id" </dev/null
    rt delete --force "$id"
    rt create --bundle=./bundle/../bundle "$id" </dev/null
    rt delete --force "$id"
    ln -sfn bundle linked
    rt create --bundle "$work/linked" -- "$id" </dev/null
    rt delete --force "$id"
    is_gone
}
is_gone() { rt state "$id"; }
@test "a bundle that is the working directory, relative, with dots, a link" {
    lives spelt sleep 600
    [ "$(grep -c 'create: exit code 0' "$out")" -eq 4 ] || fail 'one fails'
}

@test "shared and host namespaces, a read-only root and masked paths" {
    change='.linux.namespaces = [{type: "mount"}]'
    alike "$most" sh -c 'probe tee; ls -l /proc/self/ns/pid | sed s/.*pid/pid/' # the host's, alike in both
    says 'tee: errno 61' || fail "there is no filter: $(cat "$said")"
    change='.root.readonly = true | .linux.maskedPaths = ["/proc/keys"] | .linux.readonlyPaths = ["/proc/sys"]'
    alike "$most" sh -c 'probe tee; mkdir /made; cat /proc/keys; echo 1 >/proc/sys/kernel/panic; true'
    says 'tee: errno 61' || fail "there is no filter: $(cat "$said")"
}

@test "no process, no linux, and a root that is not there" {
    change='del(.process)'
    alike "$most" true
    change='del(.root)'
    alike "$most" true
    change='.root.path = "/no/such/root"'
    alike "$most" true
}
