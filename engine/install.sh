#!/usr/bin/env bash
# Creates or repairs .venv in the program's folder, and installs what install.py says.
# gui.sh and tests/run.sh both begin with this:  bash engine/install.sh [--dev]
set -eu
cd "$(dirname "$0")/.."

stop() {
    echo "$*" >&2
    exit 1
}

# PyTorch has wheels for these Pythons, and for no 32-bit one.
supported() {
    "$1" -c 'import sys; sys.exit(not ((3, 10) <= sys.version_info < (3, 14) and sys.maxsize > 2**32))' 2>/dev/null
}

# Debian and Ubuntu ship Python without ensurepip, and a .venv made without it has no pip.
makes_venv() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null
}

find_python() {
    local candidate without_venv=""
    for candidate in python3.13 python3.12 python3.11 python3.10 python3 python; do
        supported "$candidate" || continue
        if makes_venv "$candidate"; then
            python=$candidate
            return
        fi
        without_venv=${without_venv:-$("$candidate" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')}
    done
    if [ -n "$without_venv" ]; then
        stop "Python is installed, but its venv module is not. Run: sudo apt install python3-venv" \
            "(or, if that does not help, $without_venv-venv) and start again."
    fi
    case "$(uname -s)" in
        Darwin) how="Install Python 3.12 from https://www.python.org/downloads/macos/ (or: brew install python@3.12)" ;;
        *) how="Run: sudo apt install python3 python3-venv (Debian, Ubuntu), sudo dnf install python3.12 (Fedora)
or sudo zypper install python312 (openSUSE)" ;;
    esac
    stop "Darkroom needs a 64-bit Python 3.10 to 3.13, and none was found. $how, and start again."
}

# An interrupted first start leaves a .venv whose pip does not run.
if ! { supported .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1; }; then
    find_python
    if [ -e .venv ]; then
        echo "The Python environment in .venv is incomplete; recreating it..."
    else
        echo "First start: creating a Python environment in $PWD/.venv ..."
    fi
    "$python" -m venv --clear .venv ||
        stop "Could not create the folder $PWD/.venv. Is the disk full, or the folder read-only?"
fi
exec .venv/bin/python -m engine.install "$@"
