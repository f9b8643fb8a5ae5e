# shellcheck shell=bash
# Redis: persistence both ways, replication, TLS, scripts, eviction, a full disk; a crash with its report.
# shellcheck disable=SC2016,SC2034,SC2086,SC2154,SC2317 # run by lib.sh, some of it in the containers
packages=(redis-server redis-tools)
group=cache
title=Redis
ends=(TERM INT)

configure() {
    cat >"$rootfs/tmp/server.conf" <<'END'
bind 127.0.0.1 ::1
port 6379
tls-port 6380
tls-cert-file /etc/certificate.pem
tls-key-file /etc/key.pem
tls-auth-clients no
tls-replication no
unixsocket /tmp/redis.sock
dir /tmp/data
appendonly yes
save 1 1
io-threads 2
io-threads-do-reads yes
logfile /tmp/redis.log
syslog-enabled no
repl-diskless-sync-delay 0
enable-debug-command yes
enable-protected-configs yes
maxclients 200
shutdown-timeout 1
stop-writes-on-bgsave-error no
END
}

serve() {
    mkdir -p /tmp/data /tmp/replica
    redis-server --port 6479 --bind 127.0.0.1 --dir /tmp/replica --replicaof 127.0.0.1 6379 --logfile /tmp/replica.log &
    exec redis-server /tmp/server.conf
}
ready() { redis-cli ping | grep -q PONG; }

load() {
    local i
    must redis-benchmark -q -n 2000 -c 20 -P 4 -d 600 -r 1000 -t set,get,lpush,lrange,zadd,mset
    must redis-benchmark -q -n 300 -c 5 -h ::1 -t set,get
    must redis-benchmark -q -n 300 -c 5 -s /tmp/redis.sock -t set,get
    must redis-cli -e --tls --insecure -p 6380 set key value
    until_ok sh -c 'redis-cli -p 6479 info replication | grep -q master_link_status:up' || exit
    must redis-cli -e wait 1 1000
    until_ok sh -c 'redis-cli bgrewriteaof | grep -q started' || exit
    until_ok sh -c 'redis-cli info persistence | grep -q aof_rewrite_in_progress:0' || exit
    until_ok sh -c 'redis-cli bgsave | grep -q -i saving' || exit
    until_ok sh -c 'redis-cli info persistence | grep -q rdb_bgsave_in_progress:0' || exit
    until_ok redis-cli -e save || exit
    must redis-cli -e --rdb /tmp/copy.rdb
    must redis-cli -e eval 'redis.call("set", "a", cjson.encode({1, 2})) return redis.call("get", "a")' 0
    for i in 'memory purge' 'memory doctor' 'latency doctor' 'slowlog get' 'config rewrite' 'client list' 'info everything' \
        'debug reload' 'debug sleep 0.1' 'config set maxmemory 3mb' 'config set maxmemory-policy allkeys-lru' 'lastsave'; do
        # shellcheck disable=SC2086
        must redis-cli -e $i
    done
    must redis-benchmark -q -n 2000 -c 20 -d 1000 -r 5000 -t set
    must redis-cli -e config set maxmemory 0
    must redis-cli -e -p 6479 replicaof service.test 6379
    until_ok sh -c 'redis-cli -p 6479 info replication | grep -q master_link_status:up' || exit
    must redis-cli -e replicaof nowhere.invalid 1
    until_ok grep -q 'Unable to connect to MASTER' /tmp/redis.log || exit
    must redis-cli -e replicaof no one
    # More than maxclients, and a disk without room.
    hold 6379 300
    until_ok sh -c 'redis-cli ping | grep -q PONG' || exit
    must redis-cli -e config set appendonly no
    must redis-cli -e debug populate 5000 k 1000
    must redis-cli -e config set dir /full
    must redis-cli -e config set rdbcompression no
    until_ok sh -c 'redis-cli save | grep -q ERR' || exit
    must redis-cli -e config set dir /tmp/data
    must redis-cli -e config set appendonly yes
    must redis-cli -e flushall async
    # The replica crashes with a report, or stops. The first process of a container can't crash: the kernel ignores that.
    if [ "$round" = 1 ]; then pkill -SEGV -f '[r]edis-server .*:6479' || exit; else redis-cli -p 6479 shutdown nosave; fi
    must redis-cli -e ping
}

inside() {
    redis-cli ping
    redis-cli --tls --insecure -p 6380 info server
    redis-server --version
}
