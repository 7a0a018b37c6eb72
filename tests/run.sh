#!/usr/bin/env bash
# Every check there is, on a machine with only Python and git.  With arguments: only pytest, with them.
set -eu
cd "$(dirname "$0")/.."

have_chromium() {
    command -v chromium || command -v chromium-browser || command -v google-chrome
} >/dev/null

bash engine/install.sh --dev
PATH=$PWD/.venv/bin:$PATH

if ! have_chromium && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing chromium for the browser tests..."
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium || true
fi
if ! have_chromium && ! python -m playwright install chromium; then
    echo "The browser tests need chromium or google-chrome on the PATH. Install one and run this again." >&2
    exit 1
fi

# `python -m` rather than the scripts in .venv/bin, which break when the folder is moved.
if [ $# -eq 0 ]; then
    python -m ruff check .
    python -m ruff format --check .
    python -m mypy
    python -c "from importlinter.cli import lint_imports_command; lint_imports_command()"
fi
[ $# -ne 0 ] || set -- -n 2 --dist loadfile --no-loadscope-reorder --durations=40 # each has models and a browser of its own: a core and 4 GiB
exec python -m pytest "$@"
