#!/usr/bin/env bash
# Makes the environment of train.py in a folder:  make_env.sh DIR [PYTHON]
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
folder="$1"
rm -rf "$folder"
"${2:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
"$folder/bin/python" -c 'import adapters, torch, transformers'
touch "$folder/.ready"
