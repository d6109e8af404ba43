#!/usr/bin/env bash
# install.sh LOCK: puts the packages of requirements/LOCK.txt, each checked against its hashes, and this project
# (editable) into .venv, which is made first where it is missing. PYTHON names an interpreter other than python3.
# The lock `clients` goes, without this project, into .venv-clients.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
lock=requirements/$1.txt
environment=.venv compile=--compile
# compiling all of KServe's tree takes twelve seconds, and a tenth of it is ever imported
[ "$1" != clients ] || environment=.venv-clients compile=--no-compile
export PIP_DISABLE_PIP_VERSION_CHECK=1

die() { printf '%s\n' "$@" >&2; exit 1; }

require_python() {
    command -v "$python" >/dev/null || die "Python 3.11 or newer is needed, and $python is not on the PATH."
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "Python 3.11 or newer is needed; $python is $("$python" -V 2>&1). Name another one: make PYTHON=python3.12"
}

has_venv() { "$python" -c 'import ensurepip, venv' 2>/dev/null; }

# Debian keeps what venv needs in a package of its own.
require_venv() {
    has_venv && return
    local package
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    command -v apt-get >/dev/null || die "$python lacks the modules venv and ensurepip; install them first."
    [ "$(id -u)" = 0 ] || die "$python lacks the module venv. On Debian and Ubuntu: sudo apt-get install $package"
    {
        flock 9 # the other environment may be about it already
        has_venv && return
        echo "Installing Debian's $package"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$package" >/dev/null
    } 9<requirements/install.sh
}

# An interrupted set-up leaves a folder without a working pip.
require_environment() {
    $environment/bin/python -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear $environment
}

# On a terminal pip's lines become one that changes; elsewhere only its errors are shown.
install_lock() {
    if [ -t 1 ]; then
        $environment/bin/python -m pip install $compile --require-hashes -r "$lock" | one_changing_line
    else
        $environment/bin/python -m pip install -q $compile --require-hashes -r "$lock"
    fi
}

one_changing_line() {
    local verb name count=0
    while read -r verb name _; do
        case $verb in
            Collecting) count=$((count + 1)); printf '\r\033[K  %d of %d  %s' "$count" "$packages" "$name" ;;
            Requirement | Ignoring) count=$((count + 1)) ;;
            Installing) printf '\r\033[K  unpacking' ;;
        esac
    done
    printf '\r\033[K'
}

require_python
require_venv
packages=$(grep -c == "$lock")
echo "Setting up $environment with $("$python" -V): $packages pinned packages of $lock"
require_environment
install_lock
[ $environment != .venv ] || .venv/bin/python -m pip install -q --no-deps --no-build-isolation --editable .
echo "Ready after $SECONDS s"
