$ErrorActionPreference = 'Stop'
$env:PATH = "$PSScriptRoot/../../.venv/Scripts", "$PSScriptRoot/../../.venv/bin", $env:PATH -join [IO.Path]::PathSeparator
raft azure predown; exit $LASTEXITCODE
