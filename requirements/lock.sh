#!/usr/bin/env bash
# Resolves pyproject.toml into the hash-pinned files of this folder, for every platform from Python 3.11 on. uv asks
# the package index of the caller's own settings (UV_*), and no address is written down.
set -euo pipefail
cd "$(dirname "$0")/.."

lock() {
    local name=$1; shift
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --output-file "requirements/$name.txt" "$@"
}

lock dev pyproject.toml --extra dev --group build
# What developers test is what ships: the smaller locks take their versions from the large one.
lock run pyproject.toml --extra local --group build --constraint requirements/dev.txt
lock clients requirements/clients.in
lock build --group build --constraint requirements/dev.txt
lock checkov requirements/checkov.in
lock operator pyproject.toml --extra operator --constraint requirements/dev.txt
lock api-inline pyproject.toml --extra api --extra inline --extra otel --constraint requirements/dev.txt
for extra in api worker; do # images send spans where OpenTelemetry's variables ask for it
    lock "$extra" pyproject.toml --extra "$extra" --extra otel --constraint requirements/dev.txt
done
