#!/usr/bin/env bash
# The Python reader, written from docs/store-format.md, reads what the library wrote. Usage: ... PROGRAM READER
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$1" "$work"
key=$(printf '07%.0s' {1..32})
number=0
for label in v1 v2 day; do
    number=$((number + 1))
    python3 "$2" "$work/store" "$key" $label "$work/out"
    cmp "$work/out" "$work/$label.raw"
    echo "ok $number - a_second_reader_gets_version_$label"
done
# A flipped bit must not go unnoticed by it either.
pack=$(ls "$work"/store/packs/*.pack | head -1)
printf '\x55' | dd of="$pack" bs=1 seek=5000 conv=notrunc status=none
if python3 "$2" "$work/store" "$key" v1 "$work/out" 2>/dev/null; then
    echo "not ok 4 - a_second_reader_notices_damage"
else
    echo "ok 4 - a_second_reader_notices_damage"
fi
echo 1..4
