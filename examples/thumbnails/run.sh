#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Thumbnails of a folder of pictures on whatever cluster CAPSTAN_ACCESS names: three sizes and two
# formats each, every output a task of its own; then a check of every output.
#
#   examples/thumbnails/run.sh [PICTURES [OUT]]
#
# PICTURES: a folder (default: the photographs that scripts/setup --demo fetches). OUT: where the
# thumbnails go (default: ./thumbnails). Both must be the same folders on every worker.
# Exit 77: there are no pictures, or no vips.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

pictures=${1:-$root/build/pictures/usr/share/backgrounds/mate/nature}
out=${2:-$PWD/thumbnails}
capstan=${CAPSTAN:-$(command -v capstan || echo "$root/build/release/bin/capstan")}

if ! [ -d "$pictures" ] || ! command -v vipsthumbnail >/dev/null; then
  echo "run.sh: no folder '$pictures', or no vipsthumbnail: scripts/setup --demo gets both" >&2
  exit 77
fi
mkdir -p "$out"
out=$(cd "$out" && pwd)

list=$(mktemp)
trap 'rm -f "$list"' EXIT
"$here/list-tasks.sh" "$pictures" >"$list"
if ! [ -s "$list" ]; then
  echo "run.sh: no pictures in '$pictures'" >&2
  exit 77
fi

"$capstan" submit --name thumbnails --each-line "$list" --wait --progress \
  -- "$here/make-thumbnail.sh" "$out" '{}'
rm -f "$out"/.part-* # What a killed attempt left behind.
"$here/check.sh" "$out" "$list"
echo "the thumbnails are in $out"
