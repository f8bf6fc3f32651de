#!/usr/bin/env bash
# A real Trino cluster on this machine: one coordinator and two workers, loopback only, free ports, small heaps (about 4 GB in all).
# usage: cluster.sh up|down|fetch|start NODE|jdk
#   jdk         prints the home of a JDK >= 24, or exits 1; .ci/setup cluster names what is missing
#   fetch       downloads Trino through Maven once and unpacks what is needed
#   up          fetches, starts the three processes and returns when the workers have joined; says where the cluster is
#   start NODE  starts one node again: coord, w1 or w2
#   down        ends what `up` started
# TIER=4 lets the JVM optimise fully, which pays after minutes of work; GIVE_UP is how long a dead worker is waited for (60s).
# The state lies in CLUSTER (default build/cluster): cluster.env, NODE/pid, NODE/server.log. The workers read and write below LAKE (default
# CLUSTER/lake), which is `local:///` to Trino.
set -euo pipefail

version=476
root=$(cd "$(dirname "$0")/../../../.." && pwd)
home=${CLUSTER:-$root/build/cluster}
lake=${LAKE:-$home/lake}
heap=${HEAP:-1200M}
server=$home/server-$version

say() { echo "cluster: $*" >&2; }

# jdk prints the home of a JDK >= 24: JAVA_HOME, the java on the path, or one below /usr/lib/jvm or /opt.
jdk() {
  local dir release
  for dir in "${JAVA_HOME:-}" "$(readlink -f "$(command -v java || true)" | sed 's|/bin/java$||')" /usr/lib/jvm/* /opt/*; do
    [ -n "$dir" ] && [ -x "$dir/bin/java" ] && [ -f "$dir/release" ] || continue
    release=$(sed -nE 's/^JAVA_VERSION="([0-9]+).*/\1/p' "$dir/release")
    if [ "${release:-0}" -ge 24 ]; then
      echo "$dir"
      return
    fi
  done
  return 1
}

# fetch unpacks the server with two of its plugins. Plugins share files by hard links, so the archive is unpacked whole and then pruned.
fetch() {
  [ -d "$server" ] && return
  local work=$home/unpack.$$
  mkdir -p "$work"
  say "fetching io.trino:trino-server:$version (821 MB, once)"
  local try
  for try in 1 2 3; do
    mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy -Dartifact=io.trino:trino-server:$version:tar.gz -DoutputDirectory="$work" >&2 && break
    [ "$try" -lt 3 ] || { say "Trino could not be fetched from Maven"; exit 1; }
    sleep 5
  done
  mkdir "$work/server"
  tar -xzf "$work/trino-server-$version.tar.gz" -C "$work/server" --strip-components=1
  find "$work/server/plugin" -mindepth 1 -maxdepth 1 ! -name hive ! -name exchange-filesystem -exec rm -rf {} +
  mv "$work/server" "$server"
  rm -rf "$work"
}

ports() { python3 -c 'import socket
s = [socket.socket() for _ in range(3)]
for x in s: x.bind(("127.0.0.1", 0))
print(*[x.getsockname()[1] for x in s])'; }

# configure NODE PORT COORDINATOR
configure() {
  local dir=$home/$1
  rm -rf "$dir"
  mkdir -p "$dir/etc/catalog" "$dir/tmp"
  ln -s "$server/plugin" "$dir/plugin"
  ln -s "$server/secrets-plugin" "$dir/secrets-plugin"
  cat >"$dir/etc/config.properties" <<END
coordinator=$3
http-server.http.port=$2
node.internal-address=127.0.0.1
http-server.http.enabled=true
node.environment=perennial
node.id=$1
node.bind-ip=127.0.0.1
discovery.uri=http://127.0.0.1:$coord
query.max-memory-per-node=$((${heap%M} * 6 / 10))MB
memory.heap-headroom-per-node=128MB
catalog.management=static
query.max-stage-count=400
query.remote-task.max-error-duration=${GIVE_UP:-60s}
query.max-hash-partition-count=4
fault-tolerant-execution-max-partition-count=4
task.concurrency=2
task.max-worker-threads=2
END
  [ "$3" = false ] || cat >>"$dir/etc/config.properties" <<END
node-scheduler.include-coordinator=false
END
  cat >"$dir/etc/exchange-manager.properties" <<END
exchange-manager.name=filesystem
exchange.base-directories=file://$home/exchange
END
  echo "io.trino=WARN" >"$dir/etc/log.properties"
  cat >"$dir/etc/catalog/hive.properties" <<END
connector.name=hive
hive.metastore=file
hive.metastore.catalog.dir=local:///_hive
fs.native-local.enabled=true
local.location=$lake
hive.timestamp-precision=MICROSECONDS
hive.compression-codec=ZSTD
hive.storage-format=PARQUET
hive.non-managed-table-writes-enabled=true
hive.allow-register-partition-procedure=true
hive.max-partitions-per-writers=1000
END
}

start() {
  local dir=$home/$1 java
  java=$(jdk)
  (
    cd "$dir"
    exec setsid nohup "$java/bin/java" -server -Xmx"$heap" -XX:+ExitOnOutOfMemoryError -XX:ReservedCodeCacheSize=256M -XX:-OmitStackTraceInFastThrow \
      -XX:TieredStopAtLevel=${TIER:-1} -Djdk.attach.allowAttachSelf=true -Djdk.nio.maxCachedBufferSize=2000000 -Dfile.encoding=UTF-8 --add-modules=jdk.incubator.vector \
      --enable-native-access=ALL-UNNAMED --sun-misc-unsafe-memory-access=allow -Djava.io.tmpdir="$dir/tmp" -Duser.timezone=UTC \
      -Dconfig="$dir/etc/config.properties" -Dlog.levels-file="$dir/etc/log.properties" -cp "$server/lib/*" io.trino.server.TrinoServer >>"$dir/server.log" 2>&1 </dev/null
  ) &
  echo $! >"$dir/pid"
}

alive() { [ -f "$home/$1/pid" ] && kill -0 "$(cat "$home/$1/pid")" 2>/dev/null; }

up() {
  jdk >/dev/null || { say "a JDK >= 24 is missing; .ci/setup cluster says how to install one"; exit 1; }
  fetch
  down
  rm -rf "$home/exchange"
  [ -n "${LAKE:-}" ] || rm -rf "$lake/_hive" # the tables of an earlier run; an engine makes what it misses
  mkdir -p "$lake/_hive" "$home/exchange"
  local coord w1 w2 begun=$SECONDS
  read -r coord w1 w2 < <(ports)
  configure coord "$coord" true
  configure w1 "$w1" false
  configure w2 "$w2" false
  start coord
  start w1
  start w2
  printf 'TRINO_URL=http://perennial@127.0.0.1:%s\nCLUSTER=%s\nLAKE=%s\n' "$coord" "$home" "$lake" >"$home/cluster.env"
  say "starting a coordinator and two workers"
  while ! ready "$coord"; do
    for node in coord w1 w2; do
      if ! alive $node; then
        say "$node ended; the end of its log:"
        tail -n 20 "$home/$node/server.log" >&2
        down
        exit 1
      fi
    done
    if [ $((SECONDS - begun)) -gt 400 ]; then
      say "the workers did not join within 400 s; see $home/*/server.log"
      down
      exit 1
    fi
    sleep 1
  done
  say "ready after $((SECONDS - begun)) s: http://127.0.0.1:$coord"
}

# ready: a query counts all three nodes.
ready() {
  [ "$(python3 - "http://127.0.0.1:$1" <<'END' 2>/dev/null
import json, sys, urllib.request
head = {"X-Trino-User": "perennial"}
ask = urllib.request.Request(sys.argv[1] + "/v1/statement", b"SELECT count(*) FROM system.runtime.nodes WHERE state = 'active'", head)
while True:
    answer = json.load(urllib.request.urlopen(ask, timeout=5))
    for row in answer.get("data", []):
        print(row[0])
    if "nextUri" not in answer:
        break
    ask = urllib.request.Request(answer["nextUri"], headers=head)
END
  )" = 3 ]
}

down() {
  local node pid
  for node in w1 w2 coord; do
    alive $node || continue
    pid=$(cat "$home/$node/pid")
    kill -9 "$pid" 2>/dev/null || true
    rm -f "$home/$node/pid"
  done
  rm -f "$home/cluster.env"
}

case ${1:-} in
up) up ;;
down) down ;;
fetch) fetch ;;
jdk) jdk ;;
start) start "$2" ;;
*)
  sed -nE '2,12s/^# ?//p' "$0" >&2
  exit 2
  ;;
esac
