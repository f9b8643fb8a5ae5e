# shellcheck shell=bash
# The applications of the predefined profiles: what each one's file says, its root file system made of Debian packages,
# and what their loads share. To be sourced by a script that sets repository.
# shellcheck disable=SC2034,SC2154,SC2317

profiles=$repository/packaging/profiles
cache=${CARGO_TARGET_DIR:-$repository/target}/profiles
suite=bookworm
mapfile -t applications < <(basename -s .sh -a "$profiles"/applications/*.sh)

# What the shell inside and the load need. The load runs in a container of its own, which is never recorded.
tools=(base-files bash busybox coreutils curl dash findutils grep libc-bin openssl procps python3 sed util-linux)

# debian COMMAND... — apt-get with an empty system, and with Debian's own archive alone.
debian() {
    local key=/usr/share/keyrings/debian-archive-keyring.gpg
    mkdir -p "$cache"/apt/{etc/preferences.d,etc/apt.conf.d,state/lists/partial,archives/partial}
    : >"$cache/apt/status"
    printf 'deb [signed-by=%s] http://deb.debian.org/%s main\n' "$key" "debian $suite" "$key" "debian-security $suite-security" \
        >"$cache/apt/etc/sources.list"
    apt-get -qq -o Dir::Etc="$cache/apt/etc" -o Dir::State="$cache/apt/state" -o Dir::State::status="$cache/apt/status" \
        -o Dir::Cache::archives="$cache/apt/archives" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
        -o APT::Sandbox::User=root -o APT::Install-Recommends=false -o APT::Architecture=amd64 "$@"
}

# in_root COMMAND... — for what an application's file prepares, such as compiling.
in_root() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    unshare --mount sh -c 'mount --bind /proc "$0/proc" && mount --bind /dev "$0/dev" && exec chroot "$0" "$@"' "$rootfs" "$@"
}

# make_root NAME — its root file system, and beside it the application's version.
make_root() {
    local root=$cache/roots/$1 archives file
    [ -n "$(find "$cache/apt/state/lists" -name '*_Packages*' -mmin -600 2>/dev/null)" ] || debian update || return
    debian install --yes --download-only "${tools[@]}" "${packages[@]}" || return
    mapfile -t archives < <(rm -rf "$cache/empty" && mkdir -p "$cache/empty/partial" &&
        debian -o Dir::Cache::archives="$cache/empty" install --yes --print-uris "${tools[@]}" "${packages[@]}" | cut -d' ' -f2)
    rm -rf "$root"
    mkdir -p "$root"/{usr/{bin,sbin,lib,lib64,lib32,libx32},dev,proc,sys,run,tmp,srv,var/log,var/lib,etc}
    for file in bin sbin lib lib64; do ln -s usr/$file "$root/$file"; done
    for file in "${archives[@]}"; do
        dpkg-deb --fsys-tarfile "$cache/apt/archives/$file" |
            tar -x --keep-directory-symlink -C "$root" --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' || return
        case $file in "${packages[0]}"_*) version=${file#*_} version=${version%%_*} ;; esac
    done
    ldconfig -r "$root" 2>/dev/null
    printf 'root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/tmp:/bin/sh\nserver:x:1000:1000::/tmp:/bin/sh\n' >"$root/etc/passwd"
    printf 'root:x:0:\nwww-data:x:33:\nserver:x:1000:\n' >"$root/etc/group"
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
    printf 'hosts: files dns\npasswd: files\ngroup: files\n' >"$root/etc/nsswitch.conf"
    rootfs=$root in_root openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=localhost \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1' -keyout /etc/key.pem -out /etc/certificate.pem 2>/dev/null || return
    chmod 0644 "$root/etc/key.pem"
    rootfs=$root prepare || return
    # Without epoch and revision; the revision changes with each security update.
    version=${version#*%3a} version=${version%-*}
    echo "$version" >"$root.version"
}

# install_application NAME — its root file system, kept in the cache; $version is the application's. Since loads write
# into it, nobody else gets it before release_application, or before the next one is installed.
install_application() {
    local root=$cache/roots/$1 made
    mkdir -p "$cache/roots"
    exec 9>"$root.lock"
    flock 9 || return
    # Made again when its file changed, which may compile its service.
    made=$(cat "$profiles/applications/$1.sh" "$profiles/applications.sh" | sha256sum)
    if [ ! -e "$root.version" ] || [ "$(cat "$root.made" 2>/dev/null)" != "$made" ]; then
        # Packages are in one folder for all.
        { flock 8 && rm -f "$root.version" && make_root "$1" && echo "$made" >"$root.made"; } 8>"$cache/lock" || return
    fi
    version=$(cat "$root.version")
    rootfs=$root
}
release_application() { exec 9>&-; }

# application NAME — what its file says: packages, group, prepare, serve, ready, load, inside, ends, user, options.
application() {
    packages=() group='' components=2 ends=(TERM KILL) user=0 options=() title='' terminal=-t
    prepare() { :; }
    configure() { :; }
    inside() { :; }
    # shellcheck source=/dev/null
    . "$profiles/applications/$1.sh"
}

# resolves — whether resolver.py answers, which runs beside the load. Runs in the client's shell.
resolves() { getent ahosts service.test; }

# What the loads share. Runs in the client's shell.
# shellcheck disable=SC2317
helpers() {
    # hold PORT COUNT — opens so many connections at once, and closes them.
    hold() {
        python3 -c 'import socket, sys
held = []
for _ in range(int(sys.argv[2])):
    try:
        s = socket.socket(); s.settimeout(0.2); s.connect(("127.0.0.1", int(sys.argv[1]))); held.append(s)
    except OSError: pass' "$@"
    }
    # until_ok COMMAND... — waits for it, for two minutes: on a busy machine, everything takes much longer.
    until_ok() {
        local end=$((SECONDS + 120))
        until "$@" >/tmp/until.log 2>&1; do
            [ "$SECONDS" -lt "$end" ] || { echo "never: $*"; tail -n 3 /tmp/until.log; return 1; }
            sleep 0.1
        done
    }
    # gone PID — waits until a process has ended.
    gone() { until_ok sh -c "! kill -0 '$1'"; }
    # must COMMAND... — says what failed; the load has failed then.
    must() { "$@" >/tmp/must.log 2>&1 || { echo "failed: $*"; cat /tmp/must.log; exit 1; } >&2; }
    full=/proc/1/root/full
}

# chosen_applications — those that PROFILES names (all: every one); without it one of each group, another one each day.
chosen_applications() {
    local group_of candidates today=$(($(date +%s) / 86400))
    case ${PROFILES:-} in
    '') ;;
    all) printf '%s\n' "${applications[@]}" ;;
    *) tr , '\n' <<<"$PROFILES" ;;
    esac
    [ -z "${PROFILES:-}" ] || return 0
    for group_of in webserver database cache language-runtime; do
        candidates=()
        for application in "${applications[@]}"; do
            application "$application"
            [ "$group" != "$group_of" ] || candidates+=("$application")
        done
        [ ${#candidates[@]} -eq 0 ] || echo "${candidates[today % ${#candidates[@]}]}"
    done
}
