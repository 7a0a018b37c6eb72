#!/usr/bin/env bash
# Starts Darkroom on Linux and macOS.  The first start installs what is missing; options go to app.py.
set -eu

# Double-clicked, or called through a link on the desktop, it still works in the program's own folder.
here=$0
while [ -L "$here" ]; do
    link=$(readlink "$here")
    case "$link" in
        /*) here=$link ;;
        *) here=$(dirname "$here")/$link ;;
    esac
done
cd "$(dirname "$here")"

bash engine/install.sh
echo "Starting Darkroom..."
exec .venv/bin/python app.py "$@"
