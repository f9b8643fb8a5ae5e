#!/usr/bin/env bats
# Artifacts in a real registry: `portcullis push`, `pull` and `verify`. What the other side would send or read is
# made and looked at with curl, jq and openssl alone.
# shellcheck disable=SC2030,SC2031 # each case is a subshell

setup_file() {
    repository=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    PATH=${CARGO_TARGET_DIR:-$repository/target}/debug:$PATH
    export PATH
    registry=$("$BATS_TEST_DIRNAME/registry/build")
    tokens=$("$BATS_TEST_DIRNAME/registry/build" tokens)
    export registry tokens
    cd "$BATS_FILE_TMPDIR" || return
    serve open.log ''
    export store=$BATS_FILE_TMPDIR/open.log.store at
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem
    openssl pkey -in key.pem -pubout -out key.pub
    openssl genpkey -algorithm ED25519 -out other.pem
    openssl pkey -in other.pem -pubout -out other.pub
    export keys=$BATS_FILE_TMPDIR
}
teardown_file() {
    local pid
    for pid in "$BATS_FILE_TMPDIR"/*.pid; do
        kill "$(cat "$pid")" 2>/dev/null || true
    done
}
# serve LOG AUTH [HTTP] — a registry on a port of its own; its address is $at
serve() {
    local folder=$BATS_FILE_TMPDIR/$1.store log=$BATS_FILE_TMPDIR/$1
    mkdir -p "$folder"
    cat >"$log.yaml" <<END
version: 0.1
log: {level: info, formatter: text}
storage: {filesystem: {rootdirectory: $folder}, cache: {}}
http: {addr: "127.0.0.1:0"${3:+, $3}}
$2
END
    OTEL_TRACES_EXPORTER=none "$registry" serve "$log.yaml" >"$log" 2>&1 3>&- &
    echo $! >"$log.pid"
    at=$(listens "$log")
}
# listens LOG — the address that a server says it listens on
listens() {
    local deadline=$((SECONDS + 60))
    until sed -n 's/.*listening on \(127\.0\.0\.1:[0-9]*\).*/\1/p' "$1" | grep -m 1 .; do
        if ((SECONDS > deadline)); then
            cat "$1" >&2
            return 1
        fi
        sleep 0.1
    done
}
setup() {
    export HOME=$BATS_TEST_TMPDIR
    unset REGISTRY_AUTH_FILE XDG_RUNTIME_DIR XDG_CONFIG_HOME DOCKER_CONFIG
    cd "$BATS_TEST_TMPDIR" || return
    cat >web.yaml <<'END'
# A comment, which has to come back.
apiVersion: portcullis.dev/v1alpha1
kind: SeccompProfile
metadata: {name: web}
spec:
  allow: [read, write]
  syscalls:
    - {names: [mkdir], action: SCMP_ACT_ERRNO, errnoRet: ENODATA}
END
    echo '{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}' >web.json
    # A repository for each case.
    to=$at/test/case-$BATS_TEST_NUMBER
}
exits() {
    run "${@:2}"
    echo "$output"
    [ "$status" -eq "$1" ]
}
has() { grep -qF -- "$1" <<<"$output"; }
# push ARGUMENT... — the artifact with its digest is $pushed
push() {
    exits 0 portcullis push --plain-http "$@"
    pushed=$output
    [[ $pushed =~ ^$to@sha256:[0-9a-f]{64}$ ]]
}
manifest() { curl -fsS -H 'Accept: application/vnd.oci.image.manifest.v1+json' "http://$at/v2/${to#*/}/manifests/$1"; }
digest() { sha256sum "$1" | sed 's/\([^ ]*\).*/sha256:\1/'; }
# blob FILE — sends it as another client would
blob() {
    local place
    place=$(curl -fsS -X POST -D - -o /dev/null "http://$at/v2/${to#*/}/blobs/uploads/" | sed -n 's/^[Ll]ocation: \([^\r]*\).*/\1/p')
    curl -fsS -X PUT --data-binary "@$1" -H 'Content-Type: application/octet-stream' "$place&digest=$(digest "$1")"
}
# send TAG FILE
send() { curl -fsS -X PUT --data-binary "@$2" -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' "http://$at/v2/${to#*/}/manifests/$1"; }
# layer TYPE FILE [ANNOTATIONS] [PLATFORM] — its descriptor
layer() {
    jq -n --arg type "$1" --arg digest "$(digest "$2")" --argjson size "$(stat -c %s "$2")" --argjson annotations "${3:-{\}}" \
        --argjson platform "${4:-null}" '{mediaType: $type, digest: $digest, size: $size, annotations: $annotations} +
            if $platform then {platform: $platform} else {} end'
}
# image CONFIG LAYER... — a manifest
image() {
    local config=$1
    shift
    printf '%s\n' "$@" | jq -s --argjson config "$config" '{schemaVersion: 2, config: $config, layers: .,
        mediaType: "application/vnd.oci.image.manifest.v1+json"}'
}
# file_of DIGEST — of the registry's storage
file_of() { echo "$store/docker/registry/v2/blobs/sha256/${1:7:2}/${1:7}/data"; }

@test "what is pushed is pulled by its digest and by its tag, to the byte" {
    push web.yaml "$to:1"
    portcullis pull --plain-http "$pushed" | cmp - web.yaml
    portcullis pull --plain-http "$to:1" --output pulled.yaml
    cmp pulled.yaml web.yaml
    first=$pushed
    push web.yaml "$to:2"
    [ "$pushed" = "$first" ]
}

@test "a manifest is laid out as the Security Profiles Operator does" {
    push web.yaml "$to:1"
    manifest 1 >manifest.json
    jq -e '.artifactType == "application/vnd.unknown.config.v1+json" and
        .config.mediaType == "application/vnd.oci.empty.v1+json" and .config.size == 2 and
        (.layers | length) == 1 and .layers[0].mediaType == "application/vnd.oci.image.layer.v1.tar" and
        .layers[0].annotations["org.opencontainers.image.title"] == "profile.yaml"' manifest.json
    [ "$(jq -r '.layers[0].digest' manifest.json)" = "$(digest web.yaml)" ]
    push --platform linux/arm64 web.yaml "$to:arm"
    manifest arm | jq -e '.layers[0] | .platform == {"os": "linux", "architecture": "arm64"} and
        .annotations["org.opencontainers.image.title"] == "profile-linux-arm64.yaml"'
}

@test "a document is laid out as container runtimes read it" {
    push web.json "$to:1"
    manifest 1 | jq -e '.artifactType == "application/vnd.cncf.seccomp-profile.config.v1+json" and
        .config.mediaType == .artifactType and .layers[0].mediaType == "application/json"'
    portcullis pull --plain-http "$pushed" | cmp - web.json
}

@test "an artifact of the Security Profiles Operator is pulled, for its platform" {
    sed 's,portcullis.dev/v1alpha1,security-profiles-operator.x-k8s.io/v1beta1,; /allow:/d' web.yaml >all.yaml
    sed 's/ENODATA/ENOSYS/' all.yaml >arm.yaml
    printf '{}' >empty
    for file in all.yaml arm.yaml empty; do blob "$file"; done
    type=application/vnd.oci.image.layer.v1.tar
    image "$(layer application/vnd.unknown.config.v1+json empty)" \
        "$(layer $type arm.yaml '{"org.opencontainers.image.title": "profile-linux-arm64.yaml"}' '{"os": "linux", "architecture": "arm64"}')" \
        "$(layer $type all.yaml '{"org.opencontainers.image.title": "profile.yaml"}')" >manifest.json
    send spo manifest.json
    portcullis pull --plain-http --platform linux/arm64 "$to:spo" | cmp - arm.yaml
    portcullis pull --plain-http --platform linux/s390x "$to@$(digest manifest.json)" | cmp - all.yaml
    image "$(layer application/vnd.unknown.config.v1+json empty)" \
        "$(layer $type arm.yaml '{"org.opencontainers.image.title": "profile-linux-arm64.yaml"}')" >manifest.json
    send arm manifest.json
    exits 2 portcullis pull --plain-http --platform linux/s390x "$to:arm"
    has 'is a profile for linux/s390x'
}

@test "a tampered profile is refused" {
    push web.yaml "$to:1"
    file=$(file_of "$(digest web.yaml)")
    sed -i 's/ENODATA/ENOSYS0/' "$file"
    run portcullis pull --plain-http "$pushed"
    cp web.yaml "$file"
    [ "$status" = 2 ]
    has 'the profile was tampered with: its digest is sha256:'
    exits 0 portcullis pull --plain-http "$pushed"
}

@test "a tampered manifest is refused" {
    push web.yaml "$to:1"
    file=$(file_of "${pushed#*@}")
    cp "$file" whole
    sed -i 's/profile\.yaml/profilx.yaml/' "$file"
    run portcullis pull --plain-http "$pushed"
    # The registry has it for every case.
    cp whole "$file"
    [ "$status" = 2 ]
    has 'the manifest was tampered with: its digest is sha256:'
}

@test "what was signed with a key is verified with it, and openssl says so too" {
    for key in key other; do
        push --sign-key "$keys/$key.pem" web.yaml "$to:$key"
        exits 0 portcullis verify --plain-http --key "$keys/$key.pub" "$to:$key"
        [ "$output" = "$pushed" ]
        exits 0 portcullis pull --plain-http --key "$keys/$key.pub" "$pushed"
    done
    # Both signatures are there.
    exits 0 portcullis verify --plain-http --key "$keys/key.pub" "$pushed"
    hex=${pushed#*@sha256:}
    manifest "sha256-$hex.sig" >signatures.json
    jq -e '.layers | length == 2 and all(.mediaType == "application/vnd.dev.cosign.simplesigning.v1+json")' signatures.json
    jq -r '.layers[0].annotations["dev.cosignproject.cosign/signature"]' signatures.json | base64 -d >signature
    curl -fsS "http://$at/v2/${to#*/}/blobs/$(jq -r '.layers[0].digest' signatures.json)" >payload
    openssl dgst -sha256 -verify "$keys/key.pub" -signature signature payload
    jq -e --arg digest "sha256:$hex" '.critical.image["docker-manifest-digest"] == $digest and
        .critical.type == "cosign container image signature"' payload
}

# sign DIGEST — as cosign does, with openssl; the payload is about DIGEST
sign() {
    printf '{"critical":{"identity":{"docker-reference":"%s"},"image":{"docker-manifest-digest":"%s"},"type":"cosign container image signature"},"optional":null}' \
        "$to" "$1" >payload
    openssl dgst -sha256 -sign "$keys/key.pem" -out signature payload
    printf '{}' >empty
    blob payload
    blob empty
    image "$(layer application/vnd.oci.image.config.v1+json empty)" \
        "$(layer application/vnd.dev.cosign.simplesigning.v1+json payload \
            "{\"dev.cosignproject.cosign/signature\": \"$(base64 -w 0 signature)\"}")" >signatures.json
    send "sha256-${pushed#*@sha256:}.sig" signatures.json
}

@test "a signature that openssl made is accepted" {
    push web.yaml "$to:1"
    sign "${pushed#*@}"
    exits 0 portcullis verify --plain-http --key "$keys/key.pub" "$to:1"
}

@test "no signature, another key's, and one that is for another artifact are refused" {
    push web.yaml "$to:1"
    exits 1 portcullis verify --plain-http --key "$keys/key.pub" "$to:1"
    has 'it is not signed'
    exits 2 portcullis pull --plain-http --key "$keys/key.pub" "$to:1"
    has 'it is not signed'
    sign "sha256:$(printf '0%.0s' {1..64})"
    exits 1 portcullis verify --plain-http --key "$keys/key.pub" "$to:1"
    has 'none of its 1 signatures'
    sign "${pushed#*@}"
    exits 1 portcullis verify --plain-http --key "$keys/other.pub" "$to:1"
    has 'none of its 1 signatures'
    exits 2 portcullis pull --plain-http --key "$keys/other.pub" "$to:1"
}

# bundle DIGEST NAME — signs as cosign 3 does, with openssl, and pushes a manifest with the bundle; it is NAME.json
bundle() {
    local kind=application/vnd.in-toto+json payload
    payload=$(jq -nc --arg hex "${1#sha256:}" '{_type: "https://in-toto.io/Statement/v1", subject: [{digest: {sha256: $hex}}],
        predicateType: "https://sigstore.dev/cosign/sign/v1", predicate: {}}')
    printf 'DSSEv1 %d %s %d %s' "${#kind}" "$kind" "${#payload}" "$payload" >signed
    openssl dgst -sha256 -sign "$keys/key.pem" -out signature signed
    jq -n --arg kind "$kind" --arg payload "$(printf %s "$payload" | base64 -w 0)" --arg sig "$(base64 -w 0 signature)" \
        '{dsseEnvelope: {payload: $payload, payloadType: $kind, signatures: [{sig: $sig}]}}' >"$2.bundle"
    printf '{}' >empty
    blob "$2.bundle"
    blob empty
    image "$(layer application/vnd.oci.empty.v1+json empty)" "$(layer "$bundles" "$2.bundle")" >"$2.json"
    send "$(digest "$2.json")" "$2.json"
}
bundles=application/vnd.dev.sigstore.bundle.v0.3+json
# refer FILE... — lists these manifests as what refers to the artifact, in the tag that clients keep
refer() {
    local file
    for file; do layer application/vnd.oci.image.manifest.v1+json "$file" | jq --arg kind "$bundles" '.artifactType = $kind'; done |
        jq -s '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: .}' >index.json
    curl -fsS -X PUT --data-binary @index.json -H 'Content-Type: application/vnd.oci.image.index.v1+json' \
        "http://$at/v2/${to#*/}/manifests/sha256-${pushed#*@sha256:}"
}

@test "a bundle that openssl made is accepted, and a broken one beside it hides nothing" {
    push web.yaml "$to:1"
    bundle "${pushed#*@}" good
    refer good.json
    exits 0 portcullis verify --plain-http --key "$keys/key.pub" "$to:1"
    exits 1 portcullis verify --plain-http --key "$keys/other.pub" "$to:1"
    has 'none of its 1 signatures'
    for name in tampered gone; do bundle "$(digest web.json)" "$name"; done
    # Not the same as that of another case.
    for name in tampered gone; do
        jq --arg name "$name" --arg to "$to" '.annotations = {case: $name, at: $to}' "$name.json" >changed
        mv changed "$name.json"
        send "$(digest "$name.json")" "$name.json"
    done
    refer tampered.json gone.json good.json
    sed -i 's/vnd.oci.empty/vnd.oci.emptx/' "$(file_of "$(digest tampered.json)")"
    rm "$(file_of "$(digest gone.json)")"
    exits 0 portcullis verify --plain-http --key "$keys/key.pub" "$to:1"
    exits 0 portcullis pull --plain-http --key "$keys/key.pub" "$pushed"
    # Whether another key has signed it can't be said any more.
    exits 2 portcullis verify --plain-http --key "$keys/other.pub" "$to:1"
    has "none of its 1 signatures was made for it with the given key, and others can't be read: "
    has "the referrer $(digest tampered.json): the manifest was tampered with: its digest is sha256:"
    has "the referrer $(digest gone.json): there is no such artifact"
    [ "$(wc -l <<<"$output")" = 1 ]
}

@test "what is no valid profile is not pushed, and not printed if somebody else has" {
    echo '{"defaultAction": "SCMP_ACT_ALOW"}' >bad.json
    exits 2 portcullis push --plain-http bad.json "$to:bad"
    has 'bad.json: the profile: defaultAction: '
    printf '{}' >empty
    blob empty
    blob bad.json
    image "$(layer application/vnd.cncf.seccomp-profile.config.v1+json empty)" "$(layer application/json bad.json)" >manifest.json
    send bad manifest.json
    exits 2 portcullis pull --plain-http "$to:bad"
    has 'the profile: defaultAction: '
}

@test "a profile that is larger than the gate reads is refused before it is loaded" {
    head -c 1100000 /dev/zero | tr '\0' ' ' >large.json
    echo '{"defaultAction": "SCMP_ACT_LOG"}' >>large.json
    exits 2 portcullis push --plain-http large.json "$to:1"
    has 'has more than 1048576 bytes'
    printf '{}' >empty
    blob empty
    blob large.json
    # The descriptor is wrong about its size, too.
    image "$(layer application/vnd.cncf.seccomp-profile.config.v1+json empty)" "$(layer application/json large.json | jq '.size = 7')" >manifest.json
    curl -sS -o /dev/null -X PUT --data-binary @manifest.json -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' "http://$at/v2/${to#*/}/manifests/1"
    exits 2 portcullis pull --plain-http "$to@$(digest manifest.json)"
}

@test "HTTP is spoken only if asked for, and what is missing is named" {
    exits 2 portcullis pull "$to:1"
    exits 2 portcullis pull --plain-http "$to:none"
    [ "$output" = "portcullis: $to:none: there is no such artifact" ]
    exits 2 portcullis pull --plain-http 127.0.0.1:1/none
    has '127.0.0.1:1: '
    exits 2 portcullis push --plain-http web.yaml "$to@sha256:$(printf '0%.0s' {1..64})"
    has "a digest can't be chosen"
}

@test "credentials come from the file of podman login" {
    cat >users <<'END'
user:$2b$05$D/naKLQ3OOXLVf.rGWihj.bzTcU3WVomwcebib/tBX1c39ZOLjraG
END
    serve closed.log "auth: {htpasswd: {realm: test, path: $PWD/users}}"
    to=$at/test/closed
    exits 2 portcullis push --plain-http web.yaml "$to:1"
    has '401 Unauthorized'
    jq -n --arg at "$at" '{auths: {($at): {auth: ("user:secret" | @base64)}}}' >auth.json
    exits 0 portcullis push --plain-http --auth-file auth.json web.yaml "$to:1"
    exits 2 portcullis pull --plain-http "$to:1"
    REGISTRY_AUTH_FILE=auth.json exits 0 portcullis pull --plain-http "$to:1"
    jq -n --arg at "$at" '{auths: {($at): {auth: ("user:wrong" | @base64)}}}' >auth.json
    exits 2 portcullis pull --plain-http --auth-file auth.json "$to:1"
    if has wrong; then return 1; fi
}

# authority NAME — a certificate authority in NAME.ca.pem, and a certificate of it for this host in NAME.pem
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1 authority" \
        -keyout "$1.ca.key" -out "$1.ca.pem" 2>/dev/null
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=registry -keyout "$1.key" -out "$1.csr" 2>/dev/null
    printf 'subjectAltName = IP:127.0.0.1\n' >extensions
    openssl x509 -req -in "$1.csr" -CA "$1.ca.pem" -CAkey "$1.ca.key" -CAcreateserial -days 2 -extfile extensions -out "$1.pem" 2>/dev/null
}

@test "over HTTPS, only a certificate of a trusted authority is accepted, and credentials are asked for" {
    authority own
    authority other
    # shellcheck disable=SC2016 # a hash, not variables
    echo 'user:$2b$05$D/naKLQ3OOXLVf.rGWihj.bzTcU3WVomwcebib/tBX1c39ZOLjraG' >users
    serve tls.log "auth: {htpasswd: {realm: test, path: $PWD/users}}" "tls: {certificate: $PWD/own.pem, key: $PWD/own.key}"
    to=$at/test/tls
    mkdir -p .docker run/containers
    jq -n --arg at "$at" '{auths: {($at): {auth: ("user:secret" | @base64)}}}' >.docker/config.json
    exits 0 portcullis push --ca-file own.ca.pem --sign-key "$keys/key.pem" web.yaml "$to:1"
    pushed=$output
    exits 0 portcullis verify --ca-file own.ca.pem --key "$keys/key.pub" "$pushed"
    exits 1 portcullis verify --ca-file own.ca.pem --key "$keys/other.pub" "$pushed"
    has 'none of its 1 signatures'
    portcullis pull --ca-file own.ca.pem "$pushed" | cmp - web.yaml
    SSL_CERT_FILE=own.ca.pem exits 0 portcullis pull "$pushed"
    for trust in '' '--ca-file other.ca.pem'; do
        # shellcheck disable=SC2086 # no word, or two
        exits 2 portcullis pull $trust "$pushed"
        has 'UnknownIssuer'
    done
    exits 2 portcullis pull --ca-file web.yaml "$pushed"
    has 'web.yaml: it holds no certificate in PEM'
    exits 2 portcullis pull --plain-http "$pushed"
    has '400 Bad Request'
    # Podman's file comes before Docker's.
    jq -n --arg at "$at" '{auths: {($at): {auth: ("user:wrong" | @base64)}}}' >run/containers/auth.json
    XDG_RUNTIME_DIR=$PWD/run exits 2 portcullis pull --ca-file own.ca.pem "$pushed"
    has '401 Unauthorized'
    rm .docker/config.json
    exits 2 portcullis pull --ca-file own.ca.pem "$pushed"
    has '401 Unauthorized'
}

# serve_tokens NAME SCHEME [TLS] — a registry that wants to see tokens, and the server of tokens that it names, whose log is
# $asked; both with or without TLS (own.pem, own.key)
serve_tokens() {
    local certificate=() http=''
    if [ "$2" = https ]; then
        certificate=(-certificate own.pem -key own.key)
        http="tls: {certificate: $PWD/own.pem, key: $PWD/own.key}"
    fi
    asked=$BATS_FILE_TMPDIR/$1.tokens
    "$tokens" -keys keys.json "${certificate[@]}" >"$asked" 2>&1 3>&- &
    echo $! >"$asked.pid"
    serve "$1.log" "auth: {token: {realm: \"$2://$(listens "$asked")/token\", service: registry of the tests,
        issuer: tokens of the tests, jwks: $PWD/keys.json}}" "$http"
    to=$at/test/tokens
}
# login PASSWORD — writes the credentials into auth.json
login() { jq -n --arg at "$at" --arg pair "user:$1" '{auths: {($at): {auth: ($pair | @base64)}}}' >auth.json; }

@test "over HTTPS, tokens are got from whom the registry names, for credentials or for nothing" {
    authority own
    serve_tokens secure https
    # shellcheck disable=SC2206 # two words
    own=(--ca-file own.ca.pem)
    login secret
    mine=("${own[@]}" --auth-file auth.json)
    exits 0 portcullis push "${mine[@]}" --sign-key "$keys/key.pem" web.yaml "$to:1"
    pushed=$output
    exits 0 portcullis verify "${mine[@]}" --key "$keys/key.pub" "$to:1"
    [ "$output" = "$pushed" ]
    portcullis pull "${mine[@]}" --key "$keys/key.pub" "$pushed" | cmp - web.yaml
    # A token for reading is not enough for writing, and each verb asks for no more than it needs.
    grep -qxF 'asked by "user" for "repository:test/tokens:pull,push"' "$asked"
    [ "$(tail -n 1 "$asked")" = 'asked by "user" for "repository:test/tokens:pull"' ]

    # Without credentials: a token that allows nothing.
    for verb in pull "verify --key $keys/key.pub"; do
        # shellcheck disable=SC2086 # words
        exits 2 portcullis $verb "${own[@]}" "$to:1"
        has "$at refused the manifest: 401 Unauthorized"
    done
    exits 2 portcullis push "${own[@]}" web.yaml "$to:1"
    has '401 Unauthorized'
    grep -qxF 'asked by "" for "repository:test/tokens:pull"' "$asked"
    # What everybody may read.
    exits 0 portcullis push "${mine[@]}" web.yaml "$at/open/web:1"
    portcullis pull "${own[@]}" "$output" | cmp - web.yaml
    exits 2 portcullis push "${own[@]}" web.yaml "$at/open/web:2"

    login wrong
    for verb in pull "verify --key $keys/key.pub" 'push web.yaml'; do
        # shellcheck disable=SC2086 # words
        exits 2 portcullis $verb "${mine[@]}" "$to:1"
        has 'refused a token: 401 Unauthorized (no such user)'
        if has wrong; then return 1; fi
    done
    # The server of tokens is another host, whose certificate counts too.
    authority other
    login secret
    exits 2 portcullis pull --ca-file other.ca.pem --auth-file auth.json "$to:1"
    has UnknownIssuer
}

@test "without TLS, credentials don't go to another host for a token" {
    serve_tokens plain http
    login secret
    exits 2 portcullis pull --plain-http --auth-file auth.json "$to:1"
    has "$at has its tokens from $(listens "$asked"), and credentials are not sent to another host without TLS"
    if grep asked "$asked"; then return 1; fi
    exits 2 portcullis pull --plain-http "$at/open/web:1"
    has 'there is no such artifact'
    grep -qxF 'asked by "" for "repository:open/web:pull"' "$asked"
}
