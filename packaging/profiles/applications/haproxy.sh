# shellcheck shell=bash
# HAProxy: a master with workers, TLS and HTTP/2, health checks, a resolver without an answer, its socket, caching; reload
# without a gap, soft and hard stop, workers that crash, more connections than it takes.
# shellcheck disable=SC2016,SC2034,SC2086,SC2154,SC2317 # run by lib.sh, some of it in the containers
packages=(haproxy)
group=webserver
title=HAProxy
ends=(USR1 TERM)

configure() {
    cat "$rootfs"/etc/{certificate,key}.pem >"$rootfs/tmp/both.pem"
    cat >"$rootfs/tmp/server.cfg" <<'END'
global
    user www-data
    group www-data
    stats socket /tmp/haproxy.sock mode 600 level admin expose-fd listeners
    log /tmp/log.sock local0
    log stdout format raw local1
    maxconn 60
    nbthread 2
    hard-stop-after 3s
    spread-checks 5
    server-state-file /tmp/state
resolvers dns
    nameserver none 127.0.0.1:53
    resolve_retries 1
    timeout resolve 200ms
    timeout retry 200ms
cache small
    total-max-size 4
    max-age 1
defaults
    mode http
    log global
    option httplog
    timeout connect 1s
    timeout client 3s
    timeout server 3s
    load-server-state-from-file global
    compression algo gzip
    compression type text/html text/plain
frontend web
    bind 127.0.0.1:8080
    bind [::1]:8080
    bind /tmp/web.sock
    bind 127.0.0.1:8443 ssl crt /tmp/both.pem alpn h2,http/1.1
    stick-table type ip size 1k expire 2s store http_req_rate(2s)
    http-request track-sc0 src
    http-request cache-use small
    http-response cache-store small
    use_backend named if { path_beg /named }
    use_backend dead if { path_beg /dead }
    use_backend secure if { path_beg /secure }
    default_backend plain
backend plain
    option httpchk GET /
    server a 127.0.0.1:8081 check inter 200ms
    server b [::1]:8081 check inter 200ms
    server c 127.0.0.1:1 check inter 200ms backup
backend secure
    server a 127.0.0.1:8444 ssl verify none check inter 200ms
backend named
    server n nowhere.invalid:80 resolvers dns init-addr none check inter 200ms
backend dead
    server d 127.0.0.1:1
listen raw
    mode tcp
    bind 127.0.0.1:8082
    server a 127.0.0.1:8081 send-proxy-v2
    option splice-auto
listen behind
    bind 127.0.0.1:8081
    bind [::1]:8081
    bind 127.0.0.1:8444 ssl crt /tmp/both.pem
    monitor-uri /alive
    stats enable
    stats uri /
    http-request return status 200 content-type text/plain string it-serves if { path /index.html }
END
}

serve() { exec haproxy -W -S /tmp/master.sock -f /tmp/server.cfg -p /tmp/pid; }
ready() { curl -sf -o /dev/null http://127.0.0.1:8080/index.html; }

load() {
    local path
    head -c 300000 /dev/zero >/tmp/body
    command() { python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX); s.settimeout(30); s.connect(sys.argv[2]); s.sendall((sys.argv[1] + "\n").encode()); s.shutdown(1)
while s.recv(9999): pass' "$1" "$2"; }
    for path in '' index.html secure/ alive; do
        must curl -s -o /dev/null --compressed "http://127.0.0.1:8080/$path"
        must curl -s -o /dev/null "http://[::1]:8080/$path"
        must curl -sk -o /dev/null "https://127.0.0.1:8443/$path"
        must curl -sk -o /dev/null --http1.1 -T /tmp/body "https://127.0.0.1:8443/$path"
    done
    must curl -s -o /dev/null --unix-socket /tmp/web.sock http://localhost/
    curl -s -o /dev/null http://127.0.0.1:8082/
    for path in named dead; do curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:8080/$path" | grep -q 503 || exit; done
    for path in 'show info' 'show stat' 'show servers state' 'show table web' 'clear table web' 'show cache' 'disable server plain/b' \
        'enable server plain/b' 'set server plain/a weight 50%' 'show sess all' 'show fd' 'show activity' 'show profiling' 'show ssl cert' 'show threads'; do
        must command "$path" /tmp/haproxy.sock
    done
    must command 'show proc' /tmp/master.sock
    hold 8080 150
    until_ok curl -sf http://127.0.0.1:8080/index.html || exit
    # A name in the configuration is resolved by the C library.
    printf 'listen by-name\n    bind 127.0.0.1:8085\n    server s service.test:8081 check inter 200ms\n' >>/tmp/server.cfg
    kill -HUP 1
    until_ok curl -sf http://127.0.0.1:8085/index.html || exit
    # A signal that comes while it executes itself again is lost.
    until_ok command 'show proc' /tmp/master.sock || exit
    kill -USR2 1
    until_ok curl -sf http://127.0.0.1:8080/index.html || exit
    until_ok command reload /tmp/master.sock || exit
    until_ok curl -sf http://127.0.0.1:8080/index.html
}

inside() {
    haproxy -c -f /tmp/server.cfg
    haproxy -vv
}
