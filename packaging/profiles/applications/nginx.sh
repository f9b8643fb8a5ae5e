# shellcheck shell=bash
# nginx: static files, TLS with HTTP/2, a caching proxy, uploads; its signals, workers that
# crash, a full disk. Another binary never takes over: nginx ignores that signal with `daemon off`.
# shellcheck disable=SC2016,SC2034,SC2086,SC2154,SC2317 # run by lib.sh, some of it in the containers
packages=(nginx)
group=webserver
title=nginx
ends=(QUIT TERM)

prepare() { mkdir -p "$rootfs"/srv/www; }

configure() {
    echo it-serves >"$rootfs/srv/www/index.html"
    head -c 300000 /dev/urandom >"$rootfs/srv/www/large"
    cat >"$rootfs/etc/server.conf" <<'END'
user www-data; worker_processes 2; daemon off; pid /tmp/nginx.pid; error_log /tmp/error.log info; worker_rlimit_nofile 48;
events { worker_connections 64; }
http {
    access_log /tmp/access.log; client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f;
    uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s; sendfile on; tcp_nopush on; gzip on; gzip_types *; keepalive_timeout 2;
    proxy_cache_path /tmp/cache keys_zone=cache:1m inactive=1s max_size=100k manager_sleep=200ms; client_body_buffer_size 8k;
    resolver 127.0.0.1:53 valid=1s; resolver_timeout 1s; open_file_cache max=20;
    server {
        listen 8080; listen [::]:8080; listen 8443 ssl http2; root /srv/www; autoindex on;
        ssl_certificate /etc/certificate.pem; ssl_certificate_key /etc/key.pem; ssl_session_cache shared:tls:1m;
        location /cached/ { proxy_pass http://127.0.0.1:8080/; proxy_cache cache; proxy_cache_valid 1s; proxy_buffers 4 4k; }
        location /secure/ { proxy_pass https://[::1]:8444/; }
        location /named/ { set $upstream nowhere.invalid; proxy_pass http://$upstream; }
        location /service/ { set $upstream service.test; proxy_pass http://$upstream:8080/index.html; }
        location /dead/ { proxy_pass http://127.0.0.1:1; }
        location /threads/ { alias /srv/www/; aio threads; directio 512; output_buffers 1 64k; }
        location /upload/ { alias /tmp/upload/; dav_methods PUT DELETE MKCOL MOVE; client_max_body_size 10m; create_full_put_path on; }
        location /full/ { alias /full/; dav_methods PUT; client_max_body_size 10m; client_body_temp_path /full/b; }
    }
    include /tmp/named.conf*;
    server { listen [::]:8444 ssl; root /srv/www; ssl_certificate /etc/certificate.pem; ssl_certificate_key /etc/key.pem; }
}
END
}

serve() { exec /usr/sbin/nginx -e /tmp/error.log -c /etc/server.conf; }
ready() { curl -sf -o /dev/null http://127.0.0.1:8080/index.html; }

load() {
    local path
    head -c 3000000 /dev/zero >/tmp/body
    for path in '' index.html large cached/large cached/index.html secure/index.html threads/large missing; do
        curl -s -o /dev/null --compressed "http://127.0.0.1:8080/$path" || exit
        curl -s -o /dev/null "http://[::1]:8080/$path" || exit
        curl -sk -o /dev/null --http2 "https://127.0.0.1:8443/$path" || exit
        curl -sk -o /dev/null --http1.1 -r 10-500 "https://localhost:8443/$path" || exit
    done
    must curl -sf -T /tmp/body http://127.0.0.1:8080/upload/deep/body
    must curl -sf -X MOVE -H 'Destination: /upload/other' http://127.0.0.1:8080/upload/deep/body
    must curl -sf -X DELETE http://127.0.0.1:8080/upload/other
    for path in named dead; do curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:8080/$path/" | grep -q 502 || exit; done
    curl -s -o /dev/null -w '%{http_code}' -T /tmp/body http://127.0.0.1:8080/full/body | grep -q '50[07]' || { echo 'the disk was not full'; exit 1; }
    must curl -sf -o /dev/null --retry 5 --retry-all-errors http://127.0.0.1:8080/service/
    hold 8080 120
    must curl -sf --retry 5 --retry-all-errors http://127.0.0.1:8080/index.html
    mv /tmp/access.log /tmp/access.log.1
    kill -USR1 1
    until_ok test -e /tmp/access.log || exit
    # A name in the configuration is resolved by the C library.
    echo 'server { listen 127.0.0.1:8085; location / { proxy_pass http://service.test:8080; } }' >/tmp/named.conf
    kill -HUP 1
    until_ok curl -sf http://127.0.0.1:8085/index.html || exit
    # The oldest may be one that ends after the reload, and be gone before its signal.
    until_ok pkill -KILL -o -f 'nginx: [w]orker' || exit
    until_ok pkill -SEGV -n -f 'nginx: [w]orker' || exit
    until_ok curl -sf http://127.0.0.1:8080/large || exit
    # The cache is purged by its manager.
    until_ok sh -c '[ -z "$(find /tmp/cache -type f)" ]'
}

inside() {
    nginx -e /tmp/error.log -t -c /etc/server.conf
    nginx -e /tmp/error.log -V
    nginx -e /tmp/error.log -s reopen -c /etc/server.conf
}
