#!/bin/sh
# Puts dagster.yaml together as the environment says, waits for the code server where asked, and becomes the command.
set -eu

parts=${RAFT_INSTANCE_PARTS:-/opt/raft/hosted}

refuse() {
  printf '%s\n' "$1" >&2
  exit 64
}

if [ -n "${DAGSTER_POSTGRES_PASSWORD_FILE:-}" ]; then
  [ -r "$DAGSTER_POSTGRES_PASSWORD_FILE" ] || refuse "DAGSTER_POSTGRES_PASSWORD_FILE names $DAGSTER_POSTGRES_PASSWORD_FILE, which can't be read: mount the file there."
  DAGSTER_POSTGRES_PASSWORD=$(cat "$DAGSTER_POSTGRES_PASSWORD_FILE")
  export DAGSTER_POSTGRES_PASSWORD
fi

# one that somebody mounted stays, as the official chart does
if [ ! -e "$DAGSTER_HOME/dagster.yaml" ] || grep -q 'entrypoint\.sh' "$DAGSTER_HOME/dagster.yaml"; then
  storage=entra
  [ -z "${DAGSTER_POSTGRES_PASSWORD:-}" ] || storage=password
  for part in "storage-$storage" "logs-${RAFT_COMPUTE_LOGS:-disk}" "launcher-${RAFT_RUN_LAUNCHER:-code-server}"; do
    [ -f "$parts/instance/$part.yaml" ] || refuse "There is no $part: RAFT_COMPUTE_LOGS is disk or blob, RAFT_RUN_LAUNCHER is code-server or container-apps."
  done
  mkdir -p "$DAGSTER_HOME"
  cat "$parts/dagster.yaml" "$parts/instance/storage-$storage.yaml" \
    "$parts/instance/logs-${RAFT_COMPUTE_LOGS:-disk}.yaml" \
    "$parts/instance/launcher-${RAFT_RUN_LAUNCHER:-code-server}.yaml" >"$DAGSTER_HOME/dagster.yaml"
fi

# in one replica all containers start at once, and a daemon that is early fails whole backfills
if [ -n "${RAFT_WAIT_FOR_CODE_SERVER:-}" ]; then
  tries=0
  until dagster api grpc-health-check --host "$RAFT_CODE_SERVER_HOST" --port "$RAFT_CODE_SERVER_PORT" 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || refuse "The code server at $RAFT_CODE_SERVER_HOST:$RAFT_CODE_SERVER_PORT didn't answer: look at its log."
    sleep 2
  done
fi

exec "$@"
