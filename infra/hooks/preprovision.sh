#!/bin/sh
set -eu
cd "$(dirname "$0")/../.."
PATH="$PWD/.venv/bin:$PATH" raft azure preflight
