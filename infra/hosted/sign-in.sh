#!/bin/sh
# Starts oauth2-proxy, but never for everybody: an empty list of groups would let in whoever can sign in.
set -eu
named=$(printf %s "${OAUTH2_PROXY_ALLOWED_GROUPS:-}" | tr -d '[:space:],"'\')
if [ -z "$named" ]; then
  echo "No group may come in: name at least one (RAFT_OPERATORS, RAFT_VIEWERS), or everybody who can sign in could start paid runs." >&2
  exit 64
fi
exec "${OAUTH2_PROXY:-/bin/oauth2-proxy}" "$@"
