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

# ship_hook VERB FOLDER [HOOK [SETTINGS]] — a hook file as it ships, with a binary and settings.
ship_hook() {
    jq --arg hook "${3:-$hook}" --arg settings "${4:-$settings}" '.hook.path = $hook | .hook.args += ["--config", $settings]' \
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
# Whether nothing is attached and nothing remembered.
at_rest() { [ ! -e "$link" ] && [ -z "$(find "$rec/.active" -name '*.json' 2>/dev/null)" ]; }
