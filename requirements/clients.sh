#!/usr/bin/env bash
# clients.sh: sets .venv-clients up, in which the tests run the clients of other servers (tritonclient, KServe's).
# Where that cannot be done it says so, and their tests are skipped; with CI=true that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
if requirements/install.sh clients; then
    touch .venv-clients/clients.stamp
else
    echo "The tests with tritonclient and KServe's client are skipped, and say so." >&2
    [ "${CI:-}" != true ]
fi
