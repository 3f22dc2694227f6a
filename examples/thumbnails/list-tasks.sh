#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The work as lines, one for each task: "NAME<TAB>SIZE<TAB>PICTURE", for every picture in a folder,
# three sizes and two formats.
#
#   list-tasks.sh PICTURES
set -euo pipefail

pictures=$(cd "$1" && pwd)
declare -A taken=()
while IFS= read -r -d '' picture; do
  case "$picture" in *$'\n'* | *$'\t'*)
    echo "list-tasks.sh: left out, its name has a line break or a tab: $picture" >&2
    continue
    ;;
  esac
  file=${picture##*/}
  stem=${file%.*}
  # IMG.jpg beside IMG.png: the second keeps its ending in the name.
  if [ -n "${taken[$stem]:-}" ]; then stem=$file; fi
  taken[$stem]=1
  for size in 160 480 1200; do
    for format in jpg webp; do
      printf '%s-%s.%s\t%s\t%s\n' "$stem" "$size" "$format" "$size" "$picture"
    done
  done
done < <(find "$pictures" -maxdepth 1 -type f \
  \( -iname '*.jpg' -o -iname '*.jpeg' -o -iname '*.png' -o -iname '*.tif' -o -iname '*.tiff' \
  -o -iname '*.webp' \) -print0 | LC_ALL=C sort -z)
