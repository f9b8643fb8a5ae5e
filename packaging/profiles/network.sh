# shellcheck shell=bash
# The network of an application's container, as a pod has it: an interface with IPv4 and IPv6, a route to a node, search
# domains, and its own name in /etc/hosts. It reaches nothing else. To be sourced by lib.sh, within tests/in-node.
# shellcheck disable=SC2034,SC2154 # lib.sh sets and uses them

pod_network=$work/network-pod node_network=$work/network-node
pod_address=10.244.7.2 node_address=10.244.7.1
pod_options=(--network "ns:$pod_network" --hostname server --add-host "server:$pod_address" --dns 127.0.0.1 --dns-option ndots:5
    --dns-search default.svc.cluster.local --dns-search svc.cluster.local --dns-search cluster.local)

# make_network — both network namespaces, and the pair of interfaces between them.
make_network() {
    local network
    for network in "$pod_network" "$node_network"; do
        : >"$network"
        unshare "--net=$network" true || return
        nsenter "--net=$network" ip link set lo up || return
    done
    nsenter "--net=$pod_network" ip link add eth0 type veth peer name pod netns "$node_network" || return
    nsenter "--net=$pod_network" sh -ec "ip address add $pod_address/24 dev eth0; ip -6 address add fd00:7::2/64 dev eth0 nodad
        ip link set eth0 up; ip route add default via $node_address" || return
    nsenter "--net=$node_network" sh -ec "ip address add $node_address/24 dev pod; ip -6 address add fd00:7::1/64 dev pod nodad
        ip link set pod up" || return
    nsenter "--net=$pod_network" ip -6 route add default via fd00:7::1
}

# end_network — so that the folder with its names can be removed.
end_network() { umount "$pod_network" "$node_network" 2>/dev/null; }
