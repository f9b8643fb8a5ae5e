# What a cluster's programs are told: keys and certificates, their configurations and command lines. Sourced by up.
# Uses: state, name, node_name, port, mode and the other choices that up made.
# shellcheck shell=bash disable=SC2154

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

# issue NAME SUBJECT [EXTENSION...]: pki/NAME.key and pki/NAME.crt, signed by the cluster's CA.
issue() {
	local to=$state/pki/$1 subject=$2
	shift 2
	key "$to.key"
	openssl req -new -key "$to.key" -subj "$subject" |
		openssl x509 -req -days 365 -CA "$state/pki/ca.crt" -CAkey "$state/pki/ca.key" -set_serial "0x$(openssl rand -hex 8)" \
			-extfile <(printf '%s\n' 'basicConstraints=CA:false' 'keyUsage=digitalSignature' "$@") -out "$to.crt" 2>/dev/null
}

write_pki() {
	local serving='extendedKeyUsage=serverAuth' client='extendedKeyUsage=clientAuth'
	key "$state/pki/ca.key"
	openssl req -x509 -new -key "$state/pki/ca.key" -days 365 -subj "/CN=portcullis-cluster-$name" \
		-addext 'keyUsage=critical,keyCertSign,cRLSign' -out "$state/pki/ca.crt" 2>/dev/null
	key "$state/pki/service-accounts.key"
	openssl pkey -in "$state/pki/service-accounts.key" -pubout -out "$state/pki/service-accounts.pub"
	issue apiserver /CN=kube-apiserver "$serving" \
		"subjectAltName=IP:127.0.0.1,IP:$node_address,IP:$service_address,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
	issue admin /O=system:masters/CN=admin "$client"
	kubeconfig admin "https://127.0.0.1:$port"
	[ "$mode" != api ] || return 0
	issue controller-manager /CN=system:kube-controller-manager "$client"
	issue scheduler /CN=system:kube-scheduler "$client"
	kubeconfig controller-manager "https://127.0.0.1:$serving_port"
	kubeconfig scheduler "https://127.0.0.1:$serving_port"
	[ "$mode" = full ] || return 0
	issue kubelet "/O=system:nodes/CN=system:node:$node_name" "$client"
	issue kubelet-serving "/O=system:nodes/CN=system:node:$node_name" "$serving" "subjectAltName=IP:$node_address,DNS:$node_name"
	issue apiserver-to-kubelet /O=system:masters/CN=kube-apiserver-to-kubelet "$client"
	kubeconfig kubelet "https://127.0.0.1:$serving_port"
}

kubeconfig() {
	cat >"$state/$1.kubeconfig" <<END
apiVersion: v1
kind: Config
clusters:
- name: $name
  cluster: {server: "$2", certificate-authority-data: $(base64 -w0 "$state/pki/ca.crt")}
users:
- name: $1
  user: {client-certificate-data: $(base64 -w0 "$state/pki/$1.crt"), client-key-data: $(base64 -w0 "$state/pki/$1.key")}
contexts:
- name: $name
  context: {cluster: $name, user: $1}
current-context: $name
END
	chmod 0600 "$state/$1.kubeconfig"
}

# component NAME PROGRAM ARGUMENT...: the command line of a component, with what `up --arg` adds. The first ARGUMENTs
# that hold a = and no leading - are its environment.
component() {
	local file=$state/components/$1 extra argument
	local component=$1
	shift
	for extra in "${extra_arguments[@]}"; do
		[ "${extra%%=*}" != "$component" ] || set -- "$@" "${extra#*=}"
	done
	{
		printf '#!/bin/sh\nexport PATH=%q\nexec' "$state/bin:/usr/sbin:/usr/bin:/sbin:/bin"
		for argument in "$@"; do printf ' \\\n\t%q' "$argument"; done
		echo
	} >"$file"
	chmod 0755 "$file"
}

write_control_plane() {
	local etcd=unix://$state/etcd/client bind=127.0.0.1 more=()
	# A test cluster's data need not survive the machine, so nothing waits for the disk.
	# It listens on sockets only; what it advertises must look like a host and port, though nobody ever calls it there.
	component etcd etcd --name "$name" --data-dir "$state/etcd/data" --unsafe-no-fsync --log-level warn \
		--listen-client-urls "$etcd" --listen-peer-urls "unix://$state/etcd/peer" --advertise-client-urls http://localhost:1 \
		--initial-advertise-peer-urls http://localhost:1 --initial-cluster "$name=http://localhost:1"

	case $mode in
	full)
		bind=0.0.0.0
		# Webhooks of services are called at the addresses of their pods: there is no proxy that knows service addresses.
		more+=(
			--advertise-address="$node_address" --enable-aggregator-routing=true
			--kubelet-client-certificate="$state/pki/apiserver-to-kubelet.crt"
			--kubelet-client-key="$state/pki/apiserver-to-kubelet.key"
			--kubelet-certificate-authority="$state/pki/ca.crt" --kubelet-preferred-address-types=InternalIP
		)
		;;
	*)
		# No endpoint can have a loopback address.
		more+=(--endpoint-reconciler-type=none)
		;;
	esac
	# Nobody makes service accounts' objects there, without which no pod would be accepted.
	[ "$mode" != api ] || more+=(--disable-admission-plugins=ServiceAccount)
	component kube-apiserver kube-apiserver --etcd-servers="$etcd" --bind-address="$bind" --secure-port="$serving_port" \
		--tls-cert-file="$state/pki/apiserver.crt" --tls-private-key-file="$state/pki/apiserver.key" \
		--client-ca-file="$state/pki/ca.crt" --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
		--service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range="$service_network" \
		--service-account-key-file="$state/pki/service-accounts.pub" \
		--service-account-signing-key-file="$state/pki/service-accounts.key" \
		--allow-privileged=true --profiling=false "${more[@]}"
	[ "$mode" != api ] || return 0

	# Without a higher limit it needs 4 s to give each of its controllers an account.
	component kube-controller-manager kube-controller-manager --kube-api-qps=300 --kube-api-burst=500 --kubeconfig="$state/controller-manager.kubeconfig" \
		--secure-port=0 --leader-elect=false --use-service-account-credentials=true --root-ca-file="$state/pki/ca.crt" \
		--service-account-private-key-file="$state/pki/service-accounts.key" \
		--cluster-signing-cert-file="$state/pki/ca.crt" --cluster-signing-key-file="$state/pki/ca.key"
	component kube-scheduler kube-scheduler --kubeconfig="$state/scheduler.kubeconfig" --secure-port=0 --leader-elect=false
}

write_node() {
	local annotation annotations=''
	for annotation in "${pod_annotations[@]}"; do annotations="$annotations\"$annotation\", "; done
	mkdir -p "$state"/{cni,containerd,overlay,node/etc/portcullis,node/var/lib/kubelet/seccomp,node/var/lib/portcullis,node/var/log,node/run}
	echo '# Nobody answers here.' >"$state/resolv.conf"

	component forward-outside forward "tcp:127.0.0.1:$port" "unix:$state/apiserver"
	# Inside, the API server has the same address as outside too, so one kubeconfig does for both.
	component forward-inside forward "unix:$state/apiserver" "tcp:127.0.0.1:$port" "tcp:127.0.0.1:$serving_port"

	cat >"$state/cni/10-ptp.conflist" <<END
{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "ptp", "ipMasq": false, "ipam":
 {"type": "host-local", "dataDir": "$state/cni/addresses", "ranges": [[{"subnet": "$pod_network"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
END
	cat >"$state/containerd.toml" <<END
version = 4
root = "$state/containerd"
state = "/run/containerd"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "portcullis.test/pause:1"

[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
disable_apparmor = true

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
pod_annotations = [${annotations%, }]

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = "$runtime_binary"

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["$cni_folder"]
conf_dir = "$state/cni"

[plugins.'io.containerd.nri.v1.nri']
socket_path = "/run/nri/nri.sock"
END
	component containerd containerd -a /run/containerd/containerd.sock -c "$state/containerd.toml"

	cat >"$state/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $state/pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: $state/pki/kubelet-serving.crt
tlsPrivateKeyFile: $state/pki/kubelet-serving.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup_parent/$name
cgroupsPerQOS: true
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
localStorageCapacityIsolation: false
evictionHard: {memory.available: 20Mi}
imageGCHighThresholdPercent: 100
makeIPTablesUtilChains: false
seccompDefault: $seccomp_default
resolvConf: $state/resolv.conf
clusterDomain: cluster.local
clusterDNS: ["10.96.0.10"]
volumePluginDir: /var/lib/kubelet/volumeplugins
END
	component kubelet kubelet --config="$state/kubelet.yaml" --kubeconfig="$state/kubelet.kubeconfig" \
		--root-dir=/var/lib/kubelet --hostname-override="$node_name" --node-ip="$node_address"
}

# KEY=VALUE lines, for shells and programs alike. Every path holds inside the cluster's namespaces as well.
write_env() {
	local init
	init=$(pid_in "$state/init")
	cat <<END
CLUSTER_NAME=$name
CLUSTER_MODE=$mode
CLUSTER_STATE=$state
CLUSTER_BIN=$state/bin
CLUSTER_INIT=$init
KUBECONFIG=$state/admin.kubeconfig
API_SERVER=https://127.0.0.1:$port
CA_FILE=$state/pki/ca.crt
END
	[ "$mode" = full ] || return 0
	cat <<END
NETNS=/proc/$init/ns/net
NODE_NAME=$node_name
NODE_ROOT=$state/node
SECCOMP_ROOT=$state/node/var/lib/kubelet/seccomp
CONTAINERD_ADDRESS=$state/node/run/containerd/containerd.sock
CONTAINERD_NAMESPACE=k8s.io
NRI_SOCKET=$state/node/run/nri/nri.sock
BUSYBOX_IMAGE=portcullis.test/busybox:1
END
}
