# shellcheck shell=bash
# MariaDB: a new data folder, load on InnoDB and Aria, a replica, TLS, temporary tables on disk, killed queries, flushed and
# rotated logs, a full disk, a crash. Without io_uring, which the containers default denies.
# shellcheck disable=SC2016,SC2034,SC2086,SC2154,SC2317 # run by lib.sh, some of it in the containers
packages=(mariadb-server mariadb-client)
group=database
title=MariaDB
ends=(TERM QUIT)
user=1000:1000

serve() {
    mkdir -p /tmp/data /tmp/replica /tmp/sort
    cat >/tmp/my.cnf <<'END'
[mariadbd]
innodb_use_native_aio = 0
innodb_buffer_pool_size = 16M
innodb_log_file_size = 8M
bind_address = 127.0.0.1,::1
log_bin = binlog
server_id = 1
general_log = 1
general_log_file = /tmp/general.log
slow_query_log = 1
slow_query_log_file = /tmp/slow.log
long_query_time = 0
log_error = /tmp/error.log
tmpdir = /tmp/sort
ssl_cert = /etc/certificate.pem
ssl_key = /etc/key.pem
max_connections = 20
table_open_cache = 100
local_infile = 1
END
    for folder in data replica; do
        mariadb-install-db --no-defaults --datadir=/tmp/$folder --auth-root-authentication-method=normal --skip-test-db \
            --innodb-use-native-aio=0 >/tmp/install.log 2>&1 || exit
    done
    mariadbd --no-defaults --datadir=/tmp/replica --socket=/tmp/replica.sock --port=3307 --bind-address=127.0.0.1 --server-id=2 \
        --innodb-use-native-aio=0 --innodb-buffer-pool-size=16M --pid-file=/tmp/replica.pid --log-error=/tmp/replica.log &
    if [ "$round" = 2 ]; then extra=--thread-handling=pool-of-threads; else extra=; fi
    exec mariadbd --defaults-file=/tmp/my.cnf --datadir=/tmp/data --socket=/tmp/server.sock --pid-file=/tmp/server.pid $extra
}
ready() { mariadb-admin --no-defaults -uroot -S /tmp/server.sock ping && mariadb-admin --no-defaults -uroot -S /tmp/replica.sock ping; }

load() {
    local statement
    sql() { must mariadb --no-defaults -uroot -S /tmp/server.sock -e "$@"; }
    sql "create user 'u'@'%' identified by 'p'; grant all on *.* to 'u'@'%'; create database d; drop user if exists ''@'localhost'"
    until_ok mariadb --no-defaults -uu -pp -h 127.0.0.1 -e 'select 1' || exit
    must mariadb --no-defaults -uu -pp -h ::1 --ssl -e 'select 1'
    must mariadb --no-defaults -uroot -S /tmp/replica.sock -e "change master to master_host='127.0.0.1', master_port=3306, master_user='u', master_password='p', master_use_gtid=slave_pos; start slave"
    for statement in 'create table t (a int auto_increment primary key, b varchar(200), c text, key (b))' \
        "insert into t (b, c) select md5(seq), repeat('x', 500) from seq_1_to_20000" 'optimize table t' 'analyze table t' 'alter table t add d int, force' \
        'create table m engine=aria as select * from t' 'repair table m' 'check table m, t' 'flush logs' 'flush tables with read lock; unlock tables' 'flush binary logs' \
        'set tmp_table_size=1024, max_heap_table_size=16384; select count(*) from (select distinct c, b from t order by c, b limit 9000) x' \
        'set sort_buffer_size=65536; select b from t order by c desc, b limit 15000, 1' "select * from t into outfile '/tmp/out'" \
        "create table l like t; load data infile '/tmp/out' into table l" 'truncate l' 'rename table l to n; drop table n' \
        'begin; update t set d=1; rollback' 'create table p (a int) partition by hash(a) partitions 4; drop table p' 'show engine innodb status' \
        "set global innodb_buffer_pool_dump_now=1; set global innodb_buffer_pool_load_now=1; set global innodb_buffer_pool_size=33554432" \
        'purge binary logs before now()' 'show processlist' "select sleep(0.1), get_lock('a', 1), uuid(), load_file('/etc/hosts')" \
        'select aes_encrypt(1, 2), sha2(1, 256), compress(repeat(1, 999))' 'create table e (a int not null) engine=csv' 'set global general_log=0' \
        'install soname "ha_blackhole"' 'flush hosts, status'; do
        sql "$statement" d >/dev/null
    done
    must mariadb-slap --no-defaults -uroot -S /tmp/server.sock --concurrency=8 --number-of-queries=400 --auto-generate-sql --auto-generate-sql-load-type=mixed
    until_ok sh -c "mariadb --no-defaults -uroot -S /tmp/replica.sock -e 'show slave status\G' | grep -q 'Seconds_Behind_Master: 0'" || exit
    must mariadb --no-defaults -uroot -S /tmp/replica.sock -e "stop slave; change master to master_host='service.test'; start slave"
    until_ok sh -c "mariadb --no-defaults -uroot -S /tmp/replica.sock -e 'show slave status\G' | grep -Eq 'Slave_IO_Running: Yes|Last_IO_Errno: [1-9]'" || exit
    must mariadb --no-defaults -uroot -S /tmp/replica.sock -e "stop slave; change master to master_host='nowhere.invalid'; start slave"
    until_ok sh -c "mariadb --no-defaults -uroot -S /tmp/replica.sock -e 'show slave status\G' | grep -q 'Last_IO_Errno: 2'" || exit
    # A disk without room, a query that is killed, more connections than there may be.
    mariadb --no-defaults -uroot -S /tmp/server.sock -e "select * from t into outfile '/full/out'" d 2>&1 | grep -q 'Errcode: 28' || { echo 'the disk was not full'; exit 1; }
    mariadb --no-defaults -uroot -S /tmp/server.sock -e 'select sleep(50)' >/dev/null 2>&1 &
    until_ok sh -c "mariadb --no-defaults -uroot -S /tmp/server.sock -N -e 'select id from information_schema.processlist where info like \"select sleep(50%\"' | grep -v '^\$' >/tmp/id; test -s /tmp/id" || exit
    sql "kill $(head -n 1 /tmp/id)"
    hold 3306 60
    until_ok mariadb --no-defaults -uroot -S /tmp/server.sock -e 'select 1' || exit
    mv /tmp/slow.log /tmp/slow.log.1
    kill -HUP 1
    sql 'flush slow logs'
    if [ "$round" = 1 ]; then kill -SEGV "$(cat /tmp/replica.pid)"; else must mariadb-admin --no-defaults -uroot -S /tmp/replica.sock shutdown; fi
    sql 'drop table t' d
}

inside() {
    mariadb-admin --no-defaults -uroot -S /tmp/server.sock ping
    mariadbd --no-defaults --version
    mariadb-dump --no-defaults -uroot -S /tmp/server.sock --all-databases >/tmp/dump.sql
}
