#!/bin/sh
# Makes Dagster's database and that of coordination, each with a role that can't enter the other.
# PostgreSQL's image runs it once, when it has made its files.
set -eu
psql --no-psqlrc --quiet --username "${POSTGRES_USER:-postgres}" --set ON_ERROR_STOP=1 \
  --set dagster="$(cat "${RAFT_SECRETS_FOLDER:-/run/secrets}/dagster_password")" \
  --set coordination="$(cat "${RAFT_SECRETS_FOLDER:-/run/secrets}/coordination_password")" <<'SQL'
CREATE ROLE dagster LOGIN PASSWORD :'dagster';
CREATE DATABASE dagster OWNER dagster;
REVOKE CONNECT ON DATABASE dagster FROM PUBLIC;
CREATE ROLE coordination LOGIN PASSWORD :'coordination';
CREATE DATABASE coordination OWNER coordination;
REVOKE CONNECT ON DATABASE coordination FROM PUBLIC;
SQL
