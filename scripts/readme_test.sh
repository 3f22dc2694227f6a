#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Types the README's 60-second start as a new user would: the blocks marked `sh` of that section, in
# order. The first block ends with a shell inside a cluster; the next is what is typed there.
#
#   scripts/readme_test.sh [BIN]     BIN: the programs (default: build/release/bin)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$(cd "${1:-$root/build/release/bin}" && pwd)
cd "$root"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# block.1, block.2 … of the section.
awk -v to="$scratch/block." '
  /^## / { section = ($0 == "## 60-second start") }
  /^```/ { if (inside) { inside = 0; close(file) }
           else if (section && $0 == "```sh") { inside = 1; file = to (++blocks) }
           next }
  inside { print > file }
  END { exit blocks == 2 ? 0 : 1 }' README.md || {
  echo "readme_test: the 60-second start should have two blocks marked sh" >&2
  exit 1
}
grep -q -- '-- bash$' "$scratch/block.1" || {
  echo "readme_test: the first block should end with a shell inside the cluster" >&2
  exit 1
}

# The same lines; only the shells are told to stop at the first failure and to say what they run.
sed -i "s|-- bash\$|-- bash -eux $scratch/block.2|; s|\\\$PWD/build/release/bin|$bin|" \
  "$scratch/block.1"
bash -eux "$scratch/block.1" </dev/null >"$scratch/out" 2>"$scratch/err" || {
  status=$?
  cat "$scratch/out" "$scratch/err"
  echo "readme_test: the README's start fails (exit $status)" >&2
  exit 1
}

# That it did what the README says, not only that it ended well.
for expected in hello CHANGELOG.md A B C w3; do
  grep -qw -- "$expected" "$scratch/out" || {
    cat "$scratch/out" "$scratch/err"
    echo "readme_test: '$expected' should have been printed" >&2
    exit 1
  }
done
echo "readme_test: $(wc -l <"$scratch/block.2") lines typed, all well"
