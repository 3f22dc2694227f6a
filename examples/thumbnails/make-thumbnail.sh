#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# One thumbnail: the command of one task.
#
#   make-thumbnail.sh OUT "NAME<TAB>SIZE<TAB>PICTURE"
#
# makes OUT/NAME (its ending says the format) from PICTURE, at most SIZE pixels wide and high. The
# same input gives the same bytes on every run: metadata is stripped. It is written under a private
# name and renamed when whole, so that running it twice, even at the same time, does no harm.
set -euo pipefail

out=$1
IFS=$'\t' read -r name size picture <<<"$2"

# vipsthumbnail takes a relative output to be beside the picture, and one that starts with "." to be
# a format for stdout: only an absolute path means what it says.
case "$out" in /*) ;; *)
  echo "make-thumbnail.sh: '$out' is not an absolute path" >&2
  exit 2
  ;;
esac
[ -r "$picture" ] || {
  echo "make-thumbnail.sh: cannot read '$picture'" >&2
  exit 1
}

case "$name" in
  *.jpg) options='[Q=85,strip]' ;;
  *.webp) options='[Q=80,strip]' ;;
  *)
    echo "make-thumbnail.sh: '$name' ends in neither .jpg nor .webp" >&2
    exit 2
    ;;
esac

# No name of the user's in it: vipsthumbnail would replace a "%s".
partial="$out/.part-${HOSTNAME:-here}-$$.${name##*.}"
trap 'rm -f "$partial"' EXIT
VIPS_CONCURRENCY=${CAPSTAN_CPUS:-1} \
  vipsthumbnail "$picture" --size "${size}x${size}>" -o "$partial$options"
mv -f "$partial" "$out/$name"
echo "$name $(stat -c %s "$out/$name") bytes"
