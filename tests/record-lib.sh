# shellcheck shell=bash
# What the recorder's tests share: settings, hooks that record, what was recorded. To be sourced
# after lib.sh and cases.sh; the scripts that source it say the runtime.
# shellcheck disable=SC2034,SC2154

mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
pins=/sys/fs/bpf/portcullis
link=$pins/recorder-1/link
rec=$work/recordings
hooks_record=$work/hooks-record # record and collect
mkdir -p "$rec" "$hooks_record" "$work/none"

# ship_hook VERB FOLDER [HOOK [SETTINGS]] — a hook file as it ships, with a binary and settings, and time for a busy machine.
ship_hook() {
    jq --arg hook "${3:-$hook}" --arg settings "${4:-$settings}" '.hook.path = $hook | .hook.args += ["--config", $settings] | .hook.timeout = 60' \
        "$repository/crio.d/podman-hooks.d/portcullis-$1.json" >"$2/portcullis-$1.json"
}

# settle LINE... — the settings of the next cases, [record] last.
settle() {
    write_settings 'engine = "podman"' "${top[@]}" '[record]' "folders = [\"$rec\"]" "$@"
    ship_hook record "$hooks_record"
    ship_hook collect "$hooks_record"
}
top=() # lines before [record]

# records FILE OPTION... -- COMMAND... — a container that records to a file of this test.
records() {
    local file=$1
    shift
    start "$runtime" "$hooks_record" --annotation "io.containers.trace-syscall=of:$rec/$file" "$@" >"$out" 2>&1
    code=$?
}

# under FILE OPTION... -- COMMAND... — a container under what was recorded.
under() {
    local file=$1
    shift
    start "$runtime" "$work/none" --security-opt "seccomp=$rec/$file" "$@" >"$out" 2>&1
    code=$?
}

succeeds() { if [ "$code" -eq 0 ]; then ok; else bad "exit code $code"; fi; }
fails() { if [ "$code" -ne 0 ]; then ok; else bad 'it succeeded'; fi; }
has() { jq -e --arg name "$2" 'any(.syscalls[]; .action == "SCMP_ACT_ALLOW" and any(.names[]; . == $name))' "$rec/$1" >/dev/null; }
calls() { jq -r '.syscalls[] | select(.action == "SCMP_ACT_ALLOW") | .names[]' "$rec/$1" | sort -u; }
# What this hook does by itself, without a container.
says() { "$hook" "$@" --config "$settings" >"$out" 2>&1; code=$?; }
# A snapshot of a container that is being recorded has the call.
shows() { says recordings show "${1:0:12}"; grep -q "\"$2\"" "$out"; } # ID CALL
# Whether nothing is attached and nothing remembered.
at_rest() { [ ! -e "$link" ] && [ -z "$(find "$rec/.active" -name '*.json' 2>/dev/null)" ]; }

# The program of marker calls, and a filter that lets them all pass.
make_marker() {
    gcc -static -pthread -O2 -o "$rootfs/bin/marker" "$repository/tests/marker.c"
    jq -n '{defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["swapoff"], action: "SCMP_ACT_ERRNO"}]}' >"$work/open.json"
}

# make_waits CALL — the program that waits once with that call: nanosleep, futex or poll.
make_waits() {
    gcc -O2 -Wall -static -nostdlib -fno-stack-protector -DCALL="SYS_$1" -o "$rootfs/bin/waits-$1" "$repository/tests/waits.c"
}
# Whether a process is in that state, of those in /proc/PID/stat. Its name has no blanks.
state() { [ "$(cut -d' ' -f3 "/proc/$1/stat" 2>/dev/null)" = "$2" ]; }
# Whether the program waits: it makes no other call that could.
waiting() { grep -q '^waits-' "/proc/$1/comm" 2>/dev/null && state "$1" S; }
# has_pid NAME — of its program, or of the runtime that will become it; with its container's ID.
has_pid() { read -r pid container_id < <(pm inspect --format '{{.State.Pid}} {{.Id}}' "$1" 2>/dev/null) && [ "$pid" -gt 0 ]; }
# interrupted NAME COMMAND... — runs a container of that name by a command that leaves its code in $code, stops its
# program in the middle of its wait, and continues it. The code is -1 if that was not possible.
interrupted() {
    local name=$1 pid='' starting done=''
    shift
    ("$@"; exit "$code") &
    starting=$!
    if within 60 has_pid "$name" && within 60 waiting "$pid" && kill -STOP "$pid" && within 20 state "$pid" T && kill -CONT "$pid"; then done=1; fi
    wait $starting
    code=$?
    [ -n "$done" ] || { code=-1; echo 'it was not stopped while it waited' >>"$out"; }
}

# Cases: a wait that SIGSTOP interrupts goes on, by a call of the kernel's own, while recorded and under a recording.
goes_on() {
    make_waits nanosleep
    case="[$runtime] a wait that is stopped and continued while it is recorded goes on"
    interrupted stopped records stopped.json --name stopped -- waits-nanosleep
    succeeds
    case="[$runtime] so does one under a recording in which nothing was stopped"
    records waits.json -- waits-nanosleep
    first=$code
    interrupted waits under waits.json --name waits -- waits-nanosleep
    if [ "$first" -eq 0 ] && [ "$code" -eq 0 ] && has waits.json restart_syscall; then ok; else bad "exit codes $first and $code"; fi
    case="[$runtime] and it fails without the call that was not seen but added"
    jq '.syscalls |= (map(.names -= ["restart_syscall"]) | map(select(.names != [])))' "$rec/waits.json" >"$rec/less.json"
    interrupted less under less.json --name less -- waits-nanosleep
    if [ "$code" = 1 ]; then ok; else bad "exit code $code, not that of EPERM"; fi
}

# Cases: a recording knows its container's processes, wherever they are, and no others.
knows_its_own() {
    local id cgroup pid
    case="[$runtime] what is executed into the container counts, and a snapshot shows it"
    records live.json --detach --name live --security-opt "seccomp=$work/open.json" \
        -- sh -c 'while [ ! -e /tmp/go ]; do sleep 0.1; done; marker fsync; sleep 60'
    pm --runtime "$runtime" exec live marker flock
    id=$(pm inspect --format '{{.Id}}' live)
    if shows "$id" flock; then ok; else bad 'it does not'; fi
    case="[$runtime] what runs is listed"
    says recordings list
    if grep -q "${id:0:12}.*live.json" "$out"; then ok; else bad 'it is not'; fi
    case="[$runtime] what moves into a cgroup below the container's counts"
    cgroup=$(jq -r .cgroup_folder "$rec/.active/$id.json")
    pid=$(pm inspect --format '{{.State.Pid}}' live)
    mkdir "$cgroup/below"
    echo "$pid" >"$cgroup/below/cgroup.procs"
    touch "$rootfs/tmp/go"
    if within 60 shows "$id" fsync && grep -q '/below$' "/proc/$pid/cgroup"; then ok; else bad 'it does not'; fi
    rm "$rootfs/tmp/go"
    case="[$runtime] a container that is killed leaves its profile"
    pm kill --signal KILL live >/dev/null
    pm rm -f -t 0 live >/dev/null 2>&1
    if has live.json flock; then ok; else bad 'there is none'; fi
    rmdir "$cgroup/below" "$cgroup" 2>/dev/null

    case="[$runtime] neighbours in the host's PID namespace are not recorded"
    records host.json --detach --name host --pid host --security-opt "seccomp=$work/open.json" -- sleep 60
    start "$runtime" "$work/none" --pid host --security-opt "seccomp=$work/open.json" -- marker tee >"$out" 2>&1
    "$rootfs/bin/marker" splice
    pm rm -f -t 0 host >/dev/null 2>&1
    if has host.json execve && ! has host.json tee && ! has host.json splice; then ok; else bad 'they are'; fi
    case="[$runtime] a neighbour in a shared PID namespace is not recorded"
    start "$runtime" "$work/none" --detach --name other -- sleep 60 >/dev/null
    records shared.json --detach --name shared --pid container:other \
        --security-opt "seccomp=$work/open.json" -- sh -c 'marker tee; sleep 60'
    pm --runtime "$runtime" exec other marker splice
    within 60 shows "$(pm inspect --format '{{.Id}}' shared)" tee
    pm rm -f -t 0 shared >/dev/null 2>&1
    pm rm -f -t 0 other >/dev/null 2>&1
    if has shared.json tee && ! has shared.json splice; then ok; else bad 'it is'; fi
}
