#!/usr/bin/env bats
# Hooks of others beside the gate's: each runs at its stage, with its arguments, environment and state, and one that
# fails stops what it stops without the gate.
# shellcheck disable=SC2016,SC2034,SC2154

load ../helpers
load ../bundles

setup() {
    prepare
    prepare_bundles
    # Says in the log where it stands, what it was given and what it was told; ends as its last argument says.
    log=$work/log
    cat >"$work/hook.sh" <<EOF
#!/bin/sh
exec 2>>"$log"
state=\$(cat)
echo "\$0 \$*, ONE=\$ONE, status \$(printf '%s' "\$state" | jq -r .status), bundle \$(printf '%s' "\$state" | jq -r .bundle)" >>"$log"
eval "\${3:-exit 0}"
EOF
    chmod +x "$work/hook.sh"
    # Inside the container there is no jq; these stages only say that they were there.
    mkdir -p "$rootfs/tmp"
    printf '#!/bin/sh\necho "$0 $*, ONE=$ONE" >>/tmp/inside\neval "${3:-exit 0}"\n' >"$rootfs/bin/hook.sh"
    chmod +x "$rootfs/bin/hook.sh"
    stages='prestart createRuntime createContainer startContainer poststart poststop'
}

# hooking STAGE END — the jq filter that gives a stage two hooks, of which the first ends like this.
hooking() {
    local path=$work/hook.sh
    [ "$1" != startContainer ] || path=/bin/hook.sh
    jq -nr --arg stage "$1" --arg path "$path" --arg ending "$2" '
        def single(n; ending): {path: $path, args: ["hook", $stage, n, ending], env: ["PATH=/usr/bin:/bin:/usr/sbin:/sbin", "ONE=\(n)"]};
        ".hooks[\"\($stage)\"] = \([single("first"; $ending), single("second"; "exit 0")] | tojson)"'
}

# logged KIND COMMAND... — the container's life, and what the hooks logged, in $out.KIND.
logged() {
    local kind=$1
    shift
    rm -f "$log" "$rootfs/tmp/inside"
    sees "$most" "$kind" "$@"
    "${run[@]}" delete --force "$id" >/dev/null 2>&1 || true
    cat "$log" "$rootfs/tmp/inside" >>"$out.$kind" 2>/dev/null || true
}

# fares COMMAND... — the same with and without the gate.
fares() {
    logged plain "$@"
    logged gated "$@"
    cp "$out.plain" "$out"
    diff "$out.plain" "$out.gated" || fail "through the gate it is otherwise: $(cat "$said")"
}

@test "hooks of every stage run in order, with their arguments, environment and state" {
    change=.
    for stage in $stages; do change+=" | $(hooking "$stage" 'exit 0')"; done
    fares probe tee
    says 'tee: errno 61' || fail 'there is no filter'
    [ "$(grep -c ', ONE=' "$out")" -eq 12 ] || fail 'not all run'
}

@test "a hook that fails stops what it stops without the gate, at every stage" {
    for stage in $stages; do
        change=$(hooking "$stage" 'exit 9')
        fares echo it-started
    done
}

@test "a hook that is not there, and one that no program is" {
    for path in /no/such/hook "$work/hook.toml"; do
        change=".hooks.createRuntime = [{path: \"$path\"}]"
        neither "$most" # with an exit code that differs from run to run
    done
}

@test "a hook that outlives its timeout" {
    change="$(hooking createRuntime 'exec sleep 600') | .hooks.createRuntime[].timeout = 1"
    fares echo it-started
    ! says it-started || fail 'it started'
}

@test "a hook without an environment, and one that prints" {
    printf '#!/bin/sh\nPATH=/usr/bin:/bin\nset -- $(env | grep -c "^PORTCULLIS")\necho "of ours: $1" >>%q\necho printed\necho complained >&2\n' "$log" >"$work/prints"
    chmod +x "$work/prints"
    change=".hooks.createRuntime = [{path: \"$work/prints\"}]"
    fares echo it-started
    says it-started || fail 'it does not start'
    says 'of ours: 0' || fail 'the environment is not the runtime'"'"'s'
}
