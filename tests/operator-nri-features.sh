# shellcheck shell=bash
# Cases of tests/operator-nri: what the node's settings make of the plugin. To be sourced by it.
# shellcheck disable=SC2016,SC2154

# again_with LINE... — the agent as plugin, with these lines in hook.toml.
again_with() {
    settle_gate "gate_socket = \"$work/gate.sock\"" "$@"
    plugin_at "$NRI_SOCKET"
    # shellcheck disable=SC2034
    before=$(registrations)
    restart_agent -TERM
    within 30 registered_again
}
container_id() { # POD
    local id
    id=$(k get pod "$1" -o 'jsonpath={.status.containerStatuses[0].containerID}')
    echo "${id#*://}"
}
accepted_by_hook() { grep -h "verify accepted $(container_id "$1") " "$decided"/*; } # POD

# The node's own default in place of containerd's.
own_default() {
    local default='{"type": "RuntimeDefault"}' bundles=/run/containerd/io.containerd.runtime.v2.task/k8s.io
    echo "# an own default"
    check "the agent starts without one" again_with
    pod engines null "$default"
    check "a pod with the field has containerd's" within 30 logs_say engines made
    "$repository/tests/cluster/enter" --name "$name" cat "$bundles/$(container_id engines)/config.json" |
        jq '.linux.seccomp | .syscalls |= (map(.names -= ["mkdir", "mkdirat"]) | map(select(.names != [])))
            | .syscalls += [{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 61}]' >"$work/stricter.json"
    denying looser 62 | jq .spec >"$work/looser.json"
    check "the agent starts with a stricter one" again_with "runtime_default = \"$work/stricter.json\""
    pod own null "$default"
    check "a pod with the field has the node's" within 30 logs_say own "$sixty_one"
    check "which the hook has verified" within 10 accepted_by_hook own
    pod bare null
    check "one without the field has none" within 30 logs_say bare made
    pod asks "$(on_pod runtime/default)" "$default"
    check "an annotation for the default changes nothing" within 30 logs_say asks "$sixty_one"
    check "the agent starts with one that allows more" again_with "runtime_default = \"$work/looser.json\""
    pod kept null "$default"
    check "a pod with the field keeps containerd's" within 30 logs_say kept made
    check "and the log says why" within 10 grep 'default/kept.*runtime_default allows' "$work/agent.log"
    check "the agent starts where any may replace it" again_with "runtime_default = \"$work/looser.json\"" 'replace_default = "any"'
    pod any null "$default"
    check "a pod with the field has that one" within 30 logs_say any "$sixty_two"
    check "the agent starts with one that is missing" again_with "runtime_default = \"$work/missing.json\""
    pod lost null "$default"
    check "a pod with the field is refused" within 30 describe_says lost "$work/missing.json"
    check "and never started" never_started lost
    k delete pod engines own bare asks kept any lost --force >/dev/null 2>&1
}

# Recording a pod: containerd calls no hooks but the plugin's.
recordings() {
    local folder=$work/recordings asks='{"portcullis.dev/record": "true"}' selects
    echo "# recordings"
    mkdir -m 700 "$folder"
    check "the agent starts where pods of default may be recorded" \
        again_with '[record]' 'namespaces = ["default"]' "folders = [\"$folder\"]"
    runs_once recorded "$asks" 'mkdir /x && ln -s x /y && echo made'
    check "a pod that asks to be recorded runs" within 30 logs_say recorded made
    check "its profile is in the node's folder" within 30 recorded_of recorded
    check "and allows what it did" allows recorded mkdir symlink
    check "and not what it did not do" eval '! allows recorded rmdir'
    check "its metadata name pod, container, image and engine" metadata_of recorded \
        '.namespace == "default" and .pod == "recorded" and .container == "c" and .engine == "containerd"
            and (.image | contains("busybox")) and .end == "stopped"'
    selects=$(jq -nc --argjson pod "$(on_pod localhost/operator/no-mkdir.json)" '$pod + {"portcullis.dev/record.c": "true"}')
    runs_once filtered "$selects" 'mkdir /x; ln -s x /y; echo done'
    check "one that also selects a profile is filtered" within 30 logs_say filtered "$sixty_one"
    check "and recorded" within 30 recorded_of filtered
    check "with what it did" allows filtered symlink
    check "its metadata name the filter" metadata_of filtered '.filterWhileRecording | startswith("one with the default action SCMP_ACT_ALLOW")'
    k create namespace elsewhere >/dev/null
    runs_once foreign "$asks" 'echo made' elsewhere
    check "a pod of another namespace runs" within 30 eval 'k -n elsewhere logs foreign | grep made'
    runs_once excepted '{"portcullis.dev/record": "true", "portcullis.dev/record.c": "false"}' 'echo made'
    check "so does one that leaves its container out" within 30 logs_say excepted made
    runs_once malformed '{"portcullis.dev/record": "yes"}' 'echo made'
    check "one whose annotation is malformed is refused" within 30 describe_says malformed 'neither "true" nor "false"'
    runs_once afterwards "$asks" 'echo made'
    check "the next one is recorded" within 60 recorded_of afterwards
    check "and nothing of those others was" recorded_no foreign excepted malformed
    k delete pod malformed --force >/dev/null 2>&1
}
# runs_once POD ANNOTATIONS COMMAND [NAMESPACE] — its container, c, runs this and ends.
runs_once() {
    jq -n --arg name "$1" --argjson annotations "$2" --arg command "$3" --arg image "$BUSYBOX_IMAGE" '
        {apiVersion: "v1", kind: "Pod", metadata: {name: $name, annotations: $annotations},
         spec: {restartPolicy: "Never", terminationGracePeriodSeconds: 0, automountServiceAccountToken: false,
            containers: [{name: "c", image: $image, imagePullPolicy: "Never", command: ["sh", "-c", $command]}]}}' \
        >"$work/$1.json"
    # A new namespace has no account for its pods yet.
    within 30 k -n "${4:-default}" apply -f "$work/$1.json"
}
# The profile of a pod's recording.
recorded_of() { compgen -G "$work/recordings/default_$1_c_*.json" | grep -v metadata; }
recorded_no() { # POD...
    local pod
    for pod; do ! compgen -G "$work/recordings/*_${pod}_*" || return; done
}
allows() { # POD CALL...
    local file pod=$1
    file=$(recorded_of "$pod")
    shift
    jq -e '[.syscalls[] | select(.action == "SCMP_ACT_ALLOW") | .names[]] | contains($ARGS.positional)' "$file" --args "$@"
}
metadata_of() { # POD CONDITION
    local file
    file=$(recorded_of "$1").metadata.json
    cat "$file"
    jq -e "$2" "$file"
}

# Pods in user namespaces, where the node has them.
user_namespaces() {
    echo "# user namespaces"
    special userns '{"hostUsers": false}'
    if ! within 30 starts_or_not userns; then
        failed=$((failed + 1))
        echo "FAILED  nothing is said of a pod in a user namespace"
    elif describe_says userns ' FailedCreatePodSandBox ' >"$work/said"; then
        # A pod without annotations does not start there either.
        skipped=$((skipped + 1))
        echo "SKIPPED a pod in a user namespace: $(tail -n 1 "$work/said")"
    else
        check "its root is another user" has_other_root userns
        check "its annotation filters" within 30 logs_say userns "$sixty_one"
        check "kubectl exec into it too" exec_says userns "$sixty_one"
        check "which the hook has verified" within 10 accepted_by_hook userns
    fi
    k delete pod userns --force >/dev/null 2>&1
}
starts_or_not() { describe_says "$1" ' (Started|FailedCreatePodSandBox) '; }
has_other_root() { k exec "$1" -- awk '$1 == 0 && $2 > 0 {found = 1} END {exit !found}' /proc/self/uid_map; }

one_filter() { k exec "$1" -- awk '/^Seccomp/ {print $2}' /proc/1/status | tr '\n' ' ' | grep '^2 1 $'; }

# crun, where it is installed. Debian's (1.8.1) takes only configurations of version 1.0 ("unknown version specified"),
# so this one's version, and nothing else, is changed on the way to it.
crun=$(command -v crun || true)
offer_crun() {
    [ -n "$crun" ] || return 0
    cat >"$work/crun" <<END
#!/usr/bin/env bash
while [ \$# -gt 0 ]; do
    [ "\$1" != --bundle ] || sed -i 's/"ociVersion":"1\.[0-9.]*"/"ociVersion":"1.0.2"/' "\$2/config.json"
    arguments+=("\$1")
    shift
done
exec $crun "\${arguments[@]}"
END
    chmod 755 "$work/crun"
    cat >>"$CLUSTER_STATE/containerd.toml" <<END

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.crun]
runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.crun.options]
BinaryName = "$work/crun"
END
    k create -f - >/dev/null <<<'{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: crun}, handler: crun}'
}
with_crun() {
    echo "# crun"
    if [ -z "$crun" ]; then
        skipped=$((skipped + 1))
        echo "SKIPPED crun is not installed"
        return
    fi
    special crun '{"runtimeClassName": "crun"}'
    check "its container's annotation filters" within 30 logs_say crun "$sixty_one"
    check "kubectl exec into it too" exec_says crun "$sixty_one"
    check "which the hook has verified" within 10 accepted_by_hook crun
    check "with one filter, as the kernel says" one_filter crun
    k delete pod crun --force >/dev/null 2>&1
}
