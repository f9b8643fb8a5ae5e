# shellcheck shell=bash
# PostgreSQL: initdb, pgbench, a streaming replica, VACUUM, checkpoints, parallel and compiled queries, backends that are
# terminated or crash, log rotation, TLS, a full disk. As in its usual images, the first start makes the cluster.
# shellcheck disable=SC2016,SC2034,SC2086,SC2154,SC2317 # run by lib.sh, some of it in the containers
packages=(postgresql-15 postgresql-client-15)
group=database
title=PostgreSQL
components=1
user=1000:1000
ends=(INT TERM QUIT)

serve() {
    export PATH="/usr/lib/postgresql/15/bin:$PATH" LC_ALL=C.UTF-8 HOME=/tmp
    cp /etc/key.pem /tmp/key.pem
    chmod 0600 /tmp/key.pem
    mkdir -p /tmp/archive
    if [ "$round" = 1 ]; then checksums=-k; else checksums=; fi
    initdb $checksums -D /tmp/pg -A trust -U postgres >/tmp/initdb.log 2>&1 || exit
    cat >>/tmp/pg/postgresql.conf <<'END'
listen_addresses = '127.0.0.1, ::1'
unix_socket_directories = '/tmp'
ssl = on
ssl_cert_file = '/etc/certificate.pem'
ssl_key_file = '/tmp/key.pem'
logging_collector = on
log_directory = '/tmp/log'
archive_mode = on
archive_command = 'cp %p /tmp/archive/%f'
max_connections = 20
min_wal_size = 32MB
max_wal_size = 48MB
autovacuum_naptime = 1
shared_preload_libraries = 'pg_stat_statements'
END
    # The standby, once the server is up.
    (
        until pg_isready -q -h /tmp; do sleep 0.2; done
        pg_basebackup -h 127.0.0.1 -U postgres -D /tmp/standby -R -c fast -X stream -C -S standby &&
            exec postgres -D /tmp/standby -p 5433 -c archive_mode=off -c log_directory=/tmp/standby-log
    ) >/tmp/standby.out 2>&1 &
    exec postgres -D /tmp/pg
}
ready() { pg_isready -q -h 127.0.0.1 && psql -qAt -h 127.0.0.1 -p 5433 -U postgres -c 'select 1'; }

load() {
    export PGHOST=127.0.0.1 PGUSER=postgres PGDATABASE=postgres
    local bin=/usr/lib/postgresql/15/bin
    sql() { must psql -v ON_ERROR_STOP=1 -qAt -c "$1" "${@:2}"; }
    # A backend that sleeps so long. It may find no room yet, behind those that were held.
    sleeps() {
        psql -qAt -c "select 1 from pg_stat_activity where query = 'select pg_sleep($1)' and state = 'active'" | grep -q 1 && return
        psql -qAt -c "select pg_sleep($1)" &
        sleep 0.5
        return 1
    }
    must $bin/pgbench -i -q -s 2
    must $bin/pgbench -c 4 -j 2 -t 50
    must env PGHOST=::1 $bin/pgbench -c 2 -t 20 -S -M prepared
    sql 'select 1' 'sslmode=require host=127.0.0.1'
    sql 'select 1' 'host=/tmp'
    for statement in 'vacuum full analyze' checkpoint 'create index concurrently on pgbench_accounts (abalance)' \
        'reindex database postgres' 'create database other' 'drop database other with (force)' 'select pg_switch_wal()' \
        'select pg_reload_conf()' 'select pg_rotate_logfile()' "select lo_from_bytea(0, 'x')" 'cluster pgbench_accounts using pgbench_accounts_pkey' \
        "copy (select 1) to program 'cat >/tmp/program'" "copy pgbench_accounts to '/tmp/copy'" "select pg_ls_dir('/tmp/pg')" \
        'create extension dblink' 'create extension pg_stat_statements' 'create unlogged table u as select * from pgbench_accounts limit 5000' \
        'truncate u' 'notify channel' 'select pg_log_backend_memory_contexts(pg_backend_pid())' 'select pg_sleep(0.2)'; do
        sql "$statement"
    done
    sql "set work_mem = '64kB'; select count(*) from (select * from pgbench_accounts order by filler, aid) a"
    sql 'set jit_above_cost = 0; set jit_inline_above_cost = 0; set jit_optimize_above_cost = 0; select sum(abalance * 2 + aid) from pgbench_accounts'
    sql 'set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0; select count(*) from pgbench_accounts a join pgbench_accounts b using (aid)'
    psql -c "select dblink_connect('host=nowhere.invalid connect_timeout=2')" 2>&1 | grep -q 'could not translate' || exit
    psql -c "select dblink_connect('host=service.test connect_timeout=9')" 2>&1 | grep 'could not translate' && exit 1
    psql -c "select dblink_exec('host=127.0.0.1 user=postgres dbname=postgres', 'select 1')" >/dev/null 2>&1
    # A disk without room.
    psql -c "copy pgbench_accounts to '/full/copy'" 2>&1 | grep -q 'No space left' || { echo 'the disk was not full'; exit 1; }
    rm -f "$full/copy"
    hold 5432 60
    until_ok psql -c 'select 1' || exit
    # Backends: terminated, cancelled, killed; the server then recovers.
    until_ok sleeps 600 || exit
    sql "select pg_terminate_backend(pid) from pg_stat_activity where query ~ '^select pg_sleep'"
    until_ok sleeps 601 || exit
    until_ok pkill -KILL -f '[p]ostgres: postgres postgres .* SELECT' || exit
    until_ok psql -c 'select 1' || exit
    until_ok psql -p 5433 -c 'select 1' || exit
    until_ok sh -c 'psql -p 5433 -c "select pg_promote()"; psql -p 5433 -qAt -c "select pg_is_in_recovery()" | grep -qx f' || exit
    pkill -INT -f -o '[p]ostgres -D /tmp/standby'
    # Where the server noticed the crash late, it may still recover.
    until_ok psql -c 'vacuum analyze'
}

inside() {
    pg_isready -h /tmp
    psql -h /tmp -U postgres -qAt -c 'select 1' postgres
    HOME=/tmp /usr/lib/postgresql/15/bin/pg_ctl -D /tmp/pg reload
    /usr/lib/postgresql/15/bin/postgres -D /tmp/pg -C max_connections
    pg_dump -h /tmp -U postgres -f /tmp/dump.sql postgres
}
