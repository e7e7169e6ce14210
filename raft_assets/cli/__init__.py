"""The `raft` command line: parse, call, print. What a command computes is in `operations` and `defs`."""
