#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Checks what make-thumbnail.sh left behind, with vips alone: every output is there and none
# besides, has the size it should have, and can be decoded to its last pixel.
#
#   check.sh OUT LIST      LIST: the lines of list-tasks.sh
set -euo pipefail

out=$1
list=$2
bad=0
complain() {
  echo "check: $*" >&2
  bad=$((bad + 1))
}

# The larger side of every picture and output: vipsheader prints "PATH: 160x100 uchar, 3 bands …".
declare -A sides=()
shape='^(.*): ([0-9]+)x([0-9]+) [a-z]+, [0-9]+ bands?, '
while IFS= read -r line; do
  [[ $line =~ $shape ]] || continue
  width=${BASH_REMATCH[2]} height=${BASH_REMATCH[3]}
  sides[${BASH_REMATCH[1]}]=$((width > height ? width : height))
done < <({
  cut -f 3 "$list" | sort -u | tr '\n' '\0'
  cut -f 1 "$list" | sed "s|^|${out//|/\\|}/|" | tr '\n' '\0'
} | xargs -0 vipsheader 2>/dev/null)

while IFS=$'\t' read -r name size picture; do
  file="$out/$name"
  source_side=${sides[$picture]:-0}
  side=${sides[$file]:-0}
  expected=$((size < source_side ? size : source_side))
  if ! [ -s "$file" ]; then
    complain "$name is missing"
  elif [ "$side" -ne "$expected" ] || [ "$side" -eq 0 ]; then
    complain "$name is $side pixels on its larger side, not $expected"
  fi
done <"$list"

# Decoded whole. `fail-on=warning`: a file that was cut short is an error, not a grey end.
decode() {
  vips avg "$1[fail-on=warning]" >/dev/null 2>&1 || echo "${1##*/}"
}
export -f decode
while IFS= read -r name; do
  complain "$name cannot be decoded"
done < <(cut -f 1 "$list" | sed "s|^|${out//|/\\|}/|" | tr '\n' '\0' |
  xargs -0 -P "$(nproc)" -I {} bash -c 'decode "$1"' _ {})

expected_count=$(wc -l <"$list")
found=$(find "$out" -maxdepth 1 -type f ! -name '.*' \( -name '*.jpg' -o -name '*.webp' \) | wc -l)
[ "$found" -eq "$expected_count" ] || complain "$found files, $expected_count expected"

if [ "$bad" -gt 0 ]; then
  echo "check: $bad complaints about $expected_count outputs" >&2
  exit 1
fi
echo "check: $expected_count outputs, each of the right size and decoded to the last pixel"
