# shellcheck shell=bash
# Caddy: static files, a proxy, certificates of its own, HTTP/3, uploads to a disk without room; reloads by its interface
# and by signal.
# shellcheck disable=SC2016,SC2034,SC2086,SC2154,SC2317 # run by lib.sh, some of it in the containers
packages=(caddy)
group=webserver
title=Caddy
ends=(TERM INT QUIT)

configure() {
    mkdir -p "$rootfs/srv/www"
    echo it-serves >"$rootfs/srv/www/index.html"
    head -c 300000 /dev/urandom >"$rootfs/srv/www/large"
    cat >"$rootfs/etc/Caddyfile" <<'END'
{
    admin 127.0.0.1:2019
    auto_https disable_redirects
    skip_install_trust
    storage file_system /tmp/caddy
    grace_period 2s
}
http://127.0.0.1:8080, http://[::1]:8080 {
    encode gzip
    log {
        output file /tmp/access.log {
            roll_size 1MiB
            roll_keep 2
        }
    }
    handle_path /proxy/* {
        reverse_proxy 127.0.0.1:8081 [::1]:8081 127.0.0.1:1 {
            health_uri /index.html
            health_interval 300ms
            lb_try_duration 2s
        }
    }
    handle_path /secure/* {
        reverse_proxy https://localhost:8443 {
            transport http {
                tls_insecure_skip_verify
            }
        }
    }
    handle_path /service/* {
        reverse_proxy http://service.test:8081
    }
    handle /named/* {
        reverse_proxy http://nowhere.invalid
    }
    handle {
        root * /srv/www
        templates /template
        file_server browse
    }
}
http://:8081 {
    root * /srv/www
    file_server
}
https://localhost:8443 {
    tls internal
    root * /srv/www
    file_server
    log {
        output file /full/access.log
    }
}
END
}

serve() {
    export HOME=/tmp XDG_DATA_HOME=/tmp/data XDG_CONFIG_HOME=/tmp/config
    exec caddy run --config /etc/Caddyfile --adapter caddyfile
}
ready() { curl -sf -o /dev/null http://127.0.0.1:8080/index.html && curl -skf -o /dev/null https://localhost:8443/; }

load() {
    local path i
    head -c 2000000 /dev/zero >/tmp/body
    for path in '' index.html large proxy/large secure/large missing; do
        for i in 1 2 3; do
            must curl -s -o /dev/null --compressed "http://127.0.0.1:8080/$path"
            must curl -s -o /dev/null "http://[::1]:8080/$path"
            must curl -sk -o /dev/null "https://localhost:8443/$path"
            must curl -sk -o /dev/null --http1.1 -r 10-500 "https://localhost:8443/$path"
        done
    done
    # What is behind it refuses that, and may close the connection before it has read all.
    curl -s -o /dev/null -T /tmp/body http://127.0.0.1:8080/proxy/index.html
    must curl -sf -o /dev/null http://127.0.0.1:8080/service/index.html
    curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/named/ | grep -q 502 || exit
    # Its log has no room.
    head -c 1040000 /dev/zero >$full/body
    for i in $(seq 40); do curl -sk -o /dev/null "https://localhost:8443/index.html?$i"; done
    hold 8080 700
    until_ok curl -sf http://127.0.0.1:8080/index.html || exit
    must curl -sf http://127.0.0.1:2019/config/
    must curl -sf -o /dev/null http://127.0.0.1:2019/debug/pprof/goroutine?debug=2
    must curl -sf -o /dev/null 'http://127.0.0.1:2019/debug/pprof/profile?seconds=1'
    kill -USR1 1
    kill -HUP 1
    must curl -sf -X POST -H 'Content-Type: text/caddyfile' -H 'Cache-Control: must-revalidate' --data-binary @/etc/Caddyfile http://127.0.0.1:2019/load
    until_ok curl -sf http://127.0.0.1:8080/index.html
}

inside() {
    export HOME=/tmp
    caddy validate --config /etc/Caddyfile --adapter caddyfile
    caddy version
    caddy reload --force --config /etc/Caddyfile --adapter caddyfile
}
