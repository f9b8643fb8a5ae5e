# shellcheck shell=bash
# From recordings to what ships: versions of profiles, groups, kustomization.yaml and the table. To be sourced after
# lib.sh by the script that names itself $self.
# shellcheck disable=SC2016,SC2154 # backquotes are Markdown's; lib.sh sets what is used here

allowed() { jq -r '.syscalls[] | select(.action == "SCMP_ACT_ALLOW") | .names[]' "$1" | sort -u; }
newest() { # PREFIX [FOLDER]... — the highest version of a name, as a path without .json
    find "${@:2}" -maxdepth 1 -regex ".*/$1-v[0-9]+\.json" 2>/dev/null | sort -V | tail -n 1 | sed 's/\.json$//'
}
series() { # APPLICATION VERSION — such as nginx-1.22: what stays the same with security updates
    echo "$1-$(cut -d. -f"1-$components" <<<"${2%%[+~]*}")"
}
# changed REPOSITORY — the profiles that a release (a tag v…) has otherwise than its checkout does now, or that are gone.
changed() {
    local tag
    for tag in $(git -C "$1" tag --list 'v[0-9]*'); do
        git -C "$1" diff --diff-filter=MDT --no-renames --name-only "$tag" -- 'packaging/profiles/*-v[0-9]*.json'
    done | sort -u
}
next() { # PREFIX NEWEST — the name of the next version
    local last=${2##*-v}
    echo "$1-v$((${last:-0} + 1))"
}
# The containers default allows some calls with conditions only (socket, personality). No predefined profile allows more.
conditional() {
    jq --slurpfile default "$profiles/containers-default.json" '
        [$default[0].syscalls[] | select(.args != null and .action == "SCMP_ACT_ALLOW").names[]] as $conditional
        | [.syscalls[].names[] | select(IN($conditional[]))] as $here
        | .syscalls |= (map(.names -= $conditional) | map(select(.names != [])))
        | .syscalls += [$default[0].syscalls[] | select(.args != null) | .names |= map(select(IN($here[]))) | select(.names != [])]' "$1"
}

# manifest NAME FILE LABEL=VALUE... — the SeccompProfile, which every namespace may bind. The runtimes' base is left to
# each node's runtime.
manifest() {
    local name=$1 file=$2 label
    shift 2
    echo '# Made by packaging/profiles/record; never edited.'
    "$portcullis" convert --to manifest --name "$name" "$file" | sed '/^  runtimeBase: Omit$/d' | while IFS= read -r line; do
        printf '%s\n' "$line"
        [ "$line" != spec: ] || echo '  offeredTo: {}'
        [ "$line" = "  name: $name" ] || continue
        echo '  labels:'
        for label in "$@"; do printf '    portcullis.dev/%s: "%s"\n' "${label%%=*}" "${label#*=}"; done
    done
}
versioned() { "$1" --version | sed -n '1s/^\([a-z]*\) version \([0-9.]*\).*/\1-\2/p'; }

# annotate NAME=VALUE... — a manifest, with these annotations in place of those that it has.
annotate() {
    local pair
    sed -e '/^  annotations:$/d' -e '/^    portcullis.dev\/recorded-[a-z]*: /d' | while IFS= read -r line; do
        if [ "$line" = spec: ]; then
            echo '  annotations:'
            for pair in "$@"; do printf '    portcullis.dev/%s: "%s"\n' "${pair%%=*}" "${pair#*=}"; done
        fi
        printf '%s\n' "$line"
    done
}

# publish PREFIX ROUNDS RECORDING... — a version of a profile, if the newest one lacks a call. Otherwise only how it was
# recorded is written, which its manifest says in annotations.
publish() {
    local prefix=$1 old name made=$work/made.json excess
    local how=("recorded-rounds=$2" recorded-network=pod)
    shift 2
    old=$(newest "$prefix" "$profiles")
    "$portcullis" merge "$@" ${old:+"$old.json"} --output "$made" || return
    # Recorded under the default filter, so it can't have more; a recording under another filter could.
    excess=$(comm -23 <(allowed "$made") <(allowed "$profiles/containers-default.json"))
    [ -z "$excess" ] || { echo "$self: $prefix would allow calls that the containers default denies: ${excess//$'\n'/ }" >&2; return 1; }
    conditional "$made" >"$made.new" && "$portcullis" convert "$made.new" >"$made" || return
    "$portcullis" lint "$made" || return
    if [ -n "$old" ] && cmp -s "$made" "$old.json"; then
        annotate "${how[@]}" <"$old.yaml" >"$made.yaml" && cp "$made.yaml" "$old.yaml" || return
        echo "${old##*/} has all that was recorded"
        return
    fi
    name=$(next "$prefix" "$old")
    [ ! -e "$profiles/$name.json" ] || { echo "$self: $name is published already" >&2; return 1; }
    manifest "$name" "$made" "application=$application" "application-version=${version//[+~]/_}" "group=$group" \
        "runtimes=$(versioned crun)_$(versioned runc)" "recorded=load" | annotate "${how[@]}" >"$profiles/$name.yaml" || return
    cp "$made" "$profiles/$name.json"
    echo "published $name: $(allowed "$made" | wc -l) calls"
    [ -z "$old" ] || echo "$name allows what ${old##*/} does not: $(comm -23 <(allowed "$made") <(allowed "$old.json") | paste -sd' ')"
}

# Calls that public exploits of the kernel needed, with a vulnerability of each and the exploit or text that says so.
# Calls that every program makes (socket, setsockopt, sendmsg, splice of pipes …) can't be told apart by name, so they are
# no use here.
code_of='https://github.com'
exploited=(
    'keyctl|[CVE-2016-0728](https://nvd.nist.gov/vuln/detail/CVE-2016-0728), a reference count of session keyrings'
    "bpf|the verifier: [CVE-2017-16995](https://blog.senyuuri.info/2019/01/19/kernel-epbf-sign-extension/), [CVE-2020-8835](https://www.zerodayinitiative.com/blog/2020/4/8/cve-2020-8835-linux-kernel-privilege-escalation-via-improper-ebpf-program-verification), [CVE-2021-3490]($code_of/chompie1337/Linux_LPE_eBPF_CVE-2021-3490), [CVE-2022-23222]($code_of/tr3ee/CVE-2022-23222)"
    "fsconfig fsopen|[CVE-2022-0185]($code_of/Crusaders-of-Rust/CVE-2022-0185), an overflow in \`fsconfig\`"
    "io_uring_enter io_uring_setup|[CVE-2021-41073]($code_of/chompie1337/Linux_LPE_io_uring_CVE-2021-41073), [CVE-2022-2602]($code_of/LukeGix/CVE-2022-2602), [CVE-2022-29582]($code_of/Ruia-ruia/CVE-2022-29582-Exploit)"
    "io_uring_register|[CVE-2022-2602]($code_of/LukeGix/CVE-2022-2602), a registered file that is freed"
    'move_pages|[CVE-2017-14140](https://osv.dev/vulnerability/CVE-2017-14140), address layouts of setuid programs'
    'perf_event_open|[CVE-2013-2094](https://nvd.nist.gov/vuln/detail/CVE-2013-2094), an index that was not checked'
    "ptrace|[CVE-2019-13272]($code_of/bcoles/kernel-exploits/tree/master/CVE-2019-13272), credentials of the tracer"
    'splice|[CVE-2022-0847](https://dirtypipe.cm4all.com/), Dirty Pipe'
    "unshare|a user namespace for [CVE-2022-0185]($code_of/Crusaders-of-Rust/CVE-2022-0185), [CVE-2022-0492]($code_of/PaloAltoNetworks/can-ctr-escape-cve-2022-0492), [CVE-2022-32250]($code_of/theori-io/CVE-2022-32250-exploit), [CVE-2024-1086]($code_of/Notselwyn/CVE-2024-1086)"
    "userfaultfd|kernel memory that stays allocated for [CVE-2019-18683](https://a13xp0p0v.github.io/2020/02/15/CVE-2019-18683.html), a race that is held open for [CVE-2022-2602]($code_of/LukeGix/CVE-2022-2602)"
    'waitid|[CVE-2017-5123](https://salls.github.io/Linux-Kernel-CVE-2017-5123/), an address that is not checked'
)

default_calls() { allowed "$profiles/containers-default.json"; }
code() { tr ' ' '\n' | sed '/^$/d; s/.*/`&`/' | paste -sd, | sed 's/,/, /g'; }
label() { sed -n "s/^    portcullis.dev\/$2: \"\(.*\)\"$/\1/p" "$1.yaml"; }

# row PATH WHAT — a line of the table.
row() {
    local calls closed
    calls=$(allowed "$1.json" | wc -l)
    closed=$(printf '%s\n' "${exploited[@]%%|*}" | tr ' ' '\n' | sort -u | comm -12 - <(default_calls) | comm -23 - <(allowed "$1.json") | code)
    printf '| `%s` | %s | %s | %s |\n' "${1##*/}" "$2" "$calls" "$closed"
}

# derive FOLDER — writes what follows from the newest profiles: groups, kustomization.yaml and the page's table.
derive() {
    local made=$1/packaging/profiles page=$1/docs/predefined-profiles.md application newest_of=() group members old name entry call
    local -A of=()
    mkdir -p "$made" "$1/docs"
    for application in "${applications[@]}"; do
        application "$application"
        old=$(newest "$application-[0-9.]+" "$profiles")
        [ -n "$old" ] || continue
        newest_of+=("$old")
        of[$group]+="$old.json "
    done
    for group in $(printf '%s\n' "${!of[@]}" | sort); do
        read -ra members <<<"${of[$group]}"
        # A union of one is that one.
        "$portcullis" merge "${members[@]}" "${members[0]}" --output "$work/union.json" || return
        old=$(newest "$group" "$profiles")
        members=("${members[@]##*/}")
        if [ -n "$old" ] && cmp -s "$work/union.json" "$old.json"; then
            # Which members it is the union of may change, if not what it allows.
            name=$made/${old##*/}
            cp "$old.json" "$name.json"
            sed "s|^\(    portcullis.dev/members: \).*|\1${members[*]%.json}|" "$old.yaml" >"$name.yaml"
            newest_of+=("$name")
            continue
        fi
        name=$(next "$group" "$old")
        cp "$work/union.json" "$made/$name.json"
        manifest "$name" "$made/$name.json" "group=$group" recorded=union | sed "s|^spec:|  annotations:\n    portcullis.dev/members: ${members[*]%.json}\nspec:|" \
            >"$made/$name.yaml" || return
        newest_of+=("$made/$name")
    done
    {
        echo '# Made by packaging/profiles/record. Every version that was ever published, since pods may use any of them.'
        printf 'apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n'
        find "$profiles" "$made" -maxdepth 1 -name '*-v[0-9]*.yaml' -printf '  - %f\n' | sort -uV
    } >"$made/kustomization.yaml"
    {
        sed '/^<!-- made by/q' "$repository/docs/predefined-profiles.md"
        printf '\n| profile | made of | calls | closes, of those that the default allows |\n| --- | --- | --- | --- |\n'
        for entry in "${newest_of[@]}"; do
            case $(label "$entry" recorded) in
            union) row "$entry" "$(sed -n 's/^    portcullis.dev\/members: //p' "$entry.yaml" | code)" ;;
            *) row "$entry" "$(application "$(label "$entry" application)"; echo "$title") $(label "$entry" application-version)" ;;
            esac
        done
        printf '| the containers default | Podman 4.3.1 | %s | |\n' "$(default_calls | wc -l)"
        printf '\n| call | exploits needed it for | the default allows it | profiles that allow it |\n| --- | --- | --- | --- |\n'
        for entry in "${exploited[@]}"; do
            for call in ${entry%%|*}; do
                printf '| `%s` | %s | %s | %s |\n' "$call" "${entry#*|}" "$(default_calls | grep -qx "$call" && echo yes || echo no)" \
                    "$(for name in "${newest_of[@]}"; do if allowed "$name.json" | grep -qx "$call"; then echo "${name##*/}"; fi; done | code)"
            done
        done
        echo
        sed -n '/^<!-- end/,$p' "$repository/docs/predefined-profiles.md"
    } >"$page"
}
