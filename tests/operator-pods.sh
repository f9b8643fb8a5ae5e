# shellcheck shell=bash
# Pods that try mkdir under profiles which forbid it, and what they and the gate say: for tests on a whole cluster.
# To be sourced after operator-lib.sh and begin_cluster.
# shellcheck disable=SC2154

# settle_gate LINE... — hook.toml of the node.
settle_gate() {
    local settings=$NODE_ROOT/etc/portcullis/hook.toml
    mkdir -p "${settings%/*}"
    printf '%s\n' 'engine = "containerd"' 'seccomp_root = "/var/lib/kubelet/seccomp"' "$@" \
        '[runtimes]' "default = \"$CLUSTER_BIN/runc\"" >"$settings.new"
    mv "$settings.new" "$settings"
}
# denying NAME ERRNO — a profile that forbids mkdir with its own errno.
denying() {
    profile "$1" "$(jq -n --argjson errno "$2" '{defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: $errno}]}')"
}
# pod NAME ANNOTATIONS POD-FIELD — its container, c, tries mkdir and stays.
pod() {
    jq -n --arg name "$1" --argjson annotations "$2" --argjson field "${3:-null}" --arg image "$BUSYBOX_IMAGE" '
        {apiVersion: "v1", kind: "Pod", metadata: {name: $name, annotations: $annotations},
         spec: {terminationGracePeriodSeconds: 0, automountServiceAccountToken: false,
            securityContext: (if $field then {seccompProfile: $field} else {} end),
            containers: [{name: "c", image: $image, imagePullPolicy: "Never",
                command: ["sh", "-c", "mkdir /x && echo made; exec sleep 1000"]}]}}' |
        k apply -f - >/dev/null 2>"$work/pod.log" || { cat "$work/pod.log" >&2; false; }
}
localhost() { jq -nc --arg path "$1" '{type: "Localhost", localhostProfile: $path}'; }
on_pod() { jq -nc --arg value "$1" '{"seccomp.security.alpha.kubernetes.io/pod": $value}'; }
on_container() { jq -nc --arg value "$1" '{"container.seccomp.security.alpha.kubernetes.io/c": $value}'; }
logs_say() { k logs "$1" | grep -F "$2"; }
exec_says() { { k exec "$1" -- mkdir /y 2>&1 || true; } | grep -F "$2"; }
describe_says() { k describe pod "$1" | tr -d '\134' | grep -E "$2"; }
never_started() {
    [ "$(k get pod "$1" -o 'jsonpath={.status.containerStatuses[0].started}')" = false ] &&
        ! { k logs "$1" 2>/dev/null || true; } | grep made
}
# What mkdir says of 61 (ENODATA) and 62 (ETIME), which it never gives by itself.
# shellcheck disable=SC2034
sixty_one='No data available' sixty_two='Timer expired'
