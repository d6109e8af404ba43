#!/usr/bin/env bash
# programs.sh: what the tests need beyond Python, from Debian's packages: a browser, Prometheus with promtool, a proxy,
# and a Redis that speaks TLS (the embedded Valkey does not).
# Where they cannot be installed it says so, and their tests are skipped (tests/debian.py); with CI=true that is a failure.
set -euo pipefail
declare -A packages=([chromium]=chromium [promtool]=prometheus [haproxy]=haproxy [redis-server]=redis-server)

do_without() {
    printf '%s\n' "$1: ${missing[*]}. The tests that need them are skipped, and say so." \
        "On Debian and Ubuntu: sudo apt-get install ${missing[*]}" >&2
    [ "${CI:-}" != true ]
    exit
}

missing=()
for program in "${!packages[@]}"; do
    PATH="$PATH:/usr/sbin" command -v "$program" >/dev/null || missing+=("${packages[$program]}")
done
[ ${#missing[@]} -gt 0 ] || exit 0
command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || do_without "Not installed"

# The tests start them, on ports of their own; they are not to become services of this machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
echo "Installing from Debian's packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq && apt-get install -qq --no-install-recommends "${missing[@]}" >/dev/null || do_without "Could not install"
echo "Ready after $SECONDS s"
