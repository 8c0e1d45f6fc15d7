#!/bin/sh
# Makes .venv and installs dfm_nb into it, editable, with what is needed to work on it. Run by `make install`.
# PYTHON=/path/to/python3 chooses the interpreter of a new .venv.
set -eu
cd "$(dirname "$0")/.."

# True for a Python that is new enough and can make environments.
good() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

if ! good .venv/bin/python; then
    found=
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        if good "$python"; then found=$python; break; fi
    done
    if [ -z "$found" ]; then
        echo "dfm_nb needs Python 3.11 or newer with the venv module, and ${PYTHON:-python3} is not that." >&2
        echo "Install one (Debian, Ubuntu: apt install python3 python3-venv), or name it: make install PYTHON=/path/to/python3" >&2
        exit 1
    fi
    echo "Making .venv with $("$found" --version)"
    "$found" -m venv --clear .venv
fi

python=.venv/bin/python
"$python" -m pip --version >/dev/null 2>&1 || "$python" -m ensurepip >/dev/null

# Progress bars for people, silence for logs.
if [ -t 2 ]; then quiet=; else quiet=--quiet; fi

# uv reads no pip settings: pass on the one that names a folder of wheels (pip separates by spaces, uv by commas).
if [ -n "${PIP_FIND_LINKS:-}" ] && [ -z "${UV_FIND_LINKS:-}" ]; then
    UV_FIND_LINKS=$(echo "$PIP_FIND_LINKS" | tr -s ' ' ',')
    export UV_FIND_LINKS
fi

with_uv() {
    "$python" -m pip install --quiet --disable-pip-version-check -c constraints.txt uv &&
    "$python" -m uv pip install $quiet --python "$python" -c constraints.txt -e '.[dev]'
}

echo "Installing dfm_nb and its dependencies into .venv (about a minute)"
if ! with_uv; then
    echo "uv could not do it; trying pip, which takes longer."
    "$python" -m pip install $quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
fi
echo "Installed: .venv/bin/dfm"
