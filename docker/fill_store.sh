#!/bin/sh
# The demo for a model store that holds nothing: drawn cats, a small model trained on them, its archive.
# Each command leaves its result whole or not at all in /work, so that an interrupted run goes on.
set -eu
store=${1:-/models}
if ls "$store"/*.mar >/dev/null 2>&1; then
    echo "catbreeds: $store holds archives; nothing to do"
    exit 0
fi
[ -d /work/data ] || catbreeds demo-data /work/data
[ -f /work/run/run.json ] || catbreeds train demo /work/data /work/run --resume
catbreeds archive /work/run --version 0.1 --data /work/data --store "$store"
