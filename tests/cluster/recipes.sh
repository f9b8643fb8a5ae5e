# How each part of the cluster is built: one function a part, given the folder to fill. Sourced by build; a change
# here builds every part anew, for the keys of the cache depend on it.
# shellcheck shell=bash disable=SC2154

version_in() { (cd "$here/$1" && go list -m -f '{{.Version}}' "$2"); }

build_kubernetes() {
	local version minor program
	version=$(version_in kubernetes k8s.io/kubernetes)
	minor=${version#v*.}
	(
		cd "$here/kubernetes" || exit
		local at=k8s.io/component-base/version
		CGO_ENABLED=0 go build -trimpath -o "$1/kubernetes" \
			-ldflags "-s -w -X $at.gitVersion=$version -X $at.gitMajor=1 -X $at.gitMinor=${minor%.*}" .
	)
	for program in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl; do
		ln -s kubernetes "$1/$program"
	done
}

build_containerd() {
	local version
	version=$(version_in containerd github.com/containerd/containerd/v2)
	(
		cd "$here/containerd" || exit
		CGO_ENABLED=0 go build -trimpath -tags no_btrfs,no_devmapper,no_zfs -o "$1/" \
			-ldflags "-s -w -X github.com/containerd/containerd/v2/version.Version=$version" tool
	)
}

build_runc() { (cd "$here/runc" && CGO_ENABLED=1 go build -trimpath -tags seccomp -ldflags '-s -w' -o "$1/" tool); }
build_cni() { (cd "$here/cni" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$1/" tool); }
build_forward() { (cd "$here/forward" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$1/forward" .); }

build_images() {
	local root applet
	root=$(mktemp -d)
	gcc -static -O2 -Wall -Wextra -Werror -s -o "$root/pause" "$here/images/pause.c"
	"$here/image" --tag portcullis.test/pause:1 --entrypoint /pause --output "$1/pause.tar" "$root"
	rm -r "$root"

	root=$(mktemp -d)
	mkdir -p "$root"/{bin,etc,tmp,root}
	chmod 1777 "$root/tmp"
	install -m 0755 "$(command -v busybox)" "$root/bin/busybox"
	[ "$("$root/bin/busybox" echo fine)" = fine ] || die "$(command -v busybox) does not work"
	for applet in $("$root/bin/busybox" --list); do
		[ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
	done
	printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
	printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
	"$here/image" --tag portcullis.test/busybox:1 --output "$1/busybox.tar" "$root"
	rm -r "$root"
}
