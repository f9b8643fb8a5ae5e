# shellcheck shell=bash
# Apache httpd with each of its three process models: TLS with HTTP/2, a caching proxy, CGI, uploads, piped logs; graceful
# restarts and stops by signal, children that crash, a full disk.
# shellcheck disable=SC2016,SC2034,SC2086,SC2154,SC2317 # run by lib.sh, some of it in the containers
packages=(apache2 apache2-utils)
group=webserver
title='Apache httpd'
ends=(TERM WINCH)
terminal='' # a terminal that changes its size would stop it

configure() {
    local model name
    mkdir -p "$rootfs"/srv/{www,cgi}
    mkdir -p "$rootfs"/run/lock "$rootfs"/tmp/{cache,dav,lock}
    chmod 0777 "$rootfs"/tmp/{cache,dav,lock}
    echo it-serves >"$rootfs/srv/www/index.html"
    head -c 300000 /dev/urandom >"$rootfs/srv/www/large"
    printf '#!/bin/sh\nprintf "Content-Type: text/plain\\n\\n"\nenv\ncat >/dev/null\n' >"$rootfs/srv/cgi/env"
    chmod +x "$rootfs/srv/cgi/env"
    for model in event worker prefork; do
        {
            echo "LoadModule mpm_${model}_module /usr/lib/apache2/modules/mod_mpm_$model.so"
            for name in authz_core authz_host dir mime env alias autoindex headers deflate filter ssl socache_shmcb http2 proxy \
                proxy_http proxy_balancer lbmethod_byrequests slotmem_shm cache cache_disk rewrite status info dav dav_fs reqtimeout \
                setenvif unique_id $([ $model = prefork ] && echo cgi || echo cgid); do
                echo "LoadModule ${name}_module /usr/lib/apache2/modules/mod_$name.so"
            done
            cat <<'END'
ServerName localhost
ServerRoot /tmp
User www-data
Group www-data
PidFile /tmp/pid
Mutex file:/tmp/lock default
ErrorLog /tmp/error.log
LogFormat "%h %r %s" short
CustomLog /tmp/access.log short
CustomLog "|/usr/bin/rotatelogs /tmp/piped.log 1M" short
CustomLog /full/full.log short
TypesConfig /etc/mime.types
StartServers 2
MaxRequestWorkers 50
GracefulShutdownTimeout 2
Timeout 60
KeepAliveTimeout 1
Listen 127.0.0.1:8080
Listen [::1]:8080
Listen 8443
SSLSessionCache shmcb:/tmp/ssl(512000)
Protocols h2 h2c http/1.1
DocumentRoot /srv/www
DAVLockDB /tmp/lock/dav
CacheRoot /tmp/cache
CacheEnable disk /cached
CacheDefaultExpire 1
AddOutputFilterByType DEFLATE text/html text/plain
EnableSendfile On
ExtendedStatus On
<Directory />
    Options +Indexes +FollowSymLinks
    Require all granted
</Directory>
ScriptAlias /cgi/ /srv/cgi/
Alias /dav/ /tmp/dav/
Alias /full/ /full/
<Location /dav/>
    Dav On
</Location>
<Location /full/>
    Dav On
</Location>
<Location /status>
    SetHandler server-status
</Location>
<Proxy balancer://both>
    BalancerMember http://127.0.0.1:8080
    BalancerMember http://[::1]:8080
</Proxy>
ProxyPass /cached/ balancer://both/
ProxyPass /named/ http://nowhere.invalid/
ProxyPass /service/ http://service.test:8080/
ProxyPass /dead/ http://127.0.0.1:1/
SSLProxyEngine On
SSLProxyVerify none
SSLProxyCheckPeerName off
ProxyPass /secure/ https://[::1]:8443/
<VirtualHost *:8443>
    SSLEngine on
    SSLCertificateFile /etc/certificate.pem
    SSLCertificateKeyFile /etc/key.pem
</VirtualHost>
END
            if [ $model != prefork ]; then echo 'ScriptSock /tmp/cgid'; fi
        } >"$rootfs/etc/$model.conf"
    done
}

serve() {
    case $round in 0) model=event ;; 1) model=prefork ;; *) model=worker ;; esac
    cp /etc/$model.conf /tmp/server.conf
    exec /usr/sbin/apache2 -DFOREGROUND -f /tmp/server.conf
}
ready() { curl -sf -o /dev/null http://127.0.0.1:8080/index.html; }

load() {
    local path
    # As its first process, httpd signals every process that it can see.
    trap '' HUP USR1
    head -c 3000000 /dev/zero >/tmp/body
    for path in '' index.html large cached/large cached/index.html secure/index.html cgi/env missing status; do
        must curl -s -o /dev/null --compressed "http://127.0.0.1:8080/$path"
        must curl -s -o /dev/null "http://[::1]:8080/$path"
        must curl -sk -o /dev/null --http2 "https://127.0.0.1:8443/$path"
        must curl -sk -o /dev/null --http1.1 -r 10-500 "https://localhost:8443/$path"
    done
    must curl -sf -o /dev/null http://127.0.0.1:8080/service/index.html
    must curl -sf -d a=b http://127.0.0.1:8080/cgi/env
    must curl -sf -T /tmp/body http://127.0.0.1:8080/dav/body
    must curl -sf -X COPY -H 'Destination: http://127.0.0.1:8080/dav/other' http://127.0.0.1:8080/dav/body
    must curl -sf -X PROPFIND -H 'Depth: 1' http://127.0.0.1:8080/dav/
    must curl -sf -X DELETE http://127.0.0.1:8080/dav/body
    for path in named dead; do curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:8080/$path/" | grep -q '50.' || exit; done
    curl -s -o /dev/null -w '%{http_code}' -T /tmp/body http://127.0.0.1:8080/full/body | grep -q '50[07]' || { echo 'the disk was not full'; exit 1; }
    must ab -n 300 -c 20 http://127.0.0.1:8080/large
    hold 8080 150
    until_ok curl -sf http://127.0.0.1:8080/index.html || exit
    must htcacheclean -p/tmp/cache -l1K
    mv /tmp/access.log /tmp/access.log.1
    kill -USR1 1
    until_ok test -e /tmp/access.log || exit
    until_ok curl -sf http://127.0.0.1:8080/index.html || exit
    kill -HUP 1
    until_ok curl -sf http://127.0.0.1:8080/index.html || exit
    pkill -KILL -n -P 1 -u www-data apache2
    pkill -SEGV -o -P 1 -u www-data apache2
    pkill -TERM -P 1 rotatelogs
    until_ok curl -sf http://127.0.0.1:8080/cgi/env
}

inside() {
    apache2 -t -f /tmp/server.conf
    apache2 -f /tmp/server.conf -k graceful
    apache2 -v
}
