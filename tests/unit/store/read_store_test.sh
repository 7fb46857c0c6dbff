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
# A changed byte must not go unnoticed by it either. Packs have random names, and not every version uses every pack: all
# are damaged, each in its first frame, by a byte that is surely another.
for pack in "$work"/store/packs/*.pack; do
    python3 - "$pack" <<'END'
import sys
with open(sys.argv[1], "r+b") as pack:
    pack.seek(120)
    byte = pack.read(1)[0]
    pack.seek(120)
    pack.write(bytes([byte ^ 0x55]))
END
done
for label in v1 v2 day; do
    number=$((number + 1))
    if python3 "$2" "$work/store" "$key" $label "$work/out" 2>/dev/null; then
        echo "not ok $number - a_second_reader_notices_damage_in_$label"
    else
        echo "ok $number - a_second_reader_notices_damage_in_$label"
    fi
done
echo 1..$number
