#!/usr/bin/env bash
# `bulkhead store check`, `rebuild` and `collect` as a person uses them. Usage: ... BULKHEAD WRITE_STORE
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$2" "$work"
printf '\007%.0s' {1..32} >"$work/key"
cp -r "$work/store" "$work/copy"
number=0
# holds NAME COMMAND...: the command must succeed.
holds() {
    local name=$1
    shift
    number=$((number + 1))
    if "$@" >"$work/log" 2>&1; then
        echo "ok $number - $name"
    else
        echo "not ok $number - $name"
        sed 's/^/# /' "$work/log"
    fi
}
refused() { ! "$@"; }
# said TEXT COMMAND...: the command fails and says the text.
said() {
    local text=$1
    shift
    if "$@" >"$work/said" 2>&1; then return 1; fi
    cat "$work/said"
    grep -q "$text" "$work/said"
}
holds a_healthy_store_has_no_faults "$1" store check -s "$work/store"
pack=$(find "$work/store/packs" -name '*.pack' | sort | head -1)
python3 - "$pack" <<'END'
import sys
with open(sys.argv[1], "r+b") as pack:
    pack.seek(120)
    byte = pack.read(1)[0]
    pack.seek(120)
    pack.write(bytes([byte ^ 1]))
END
holds a_flipped_bit_is_named_by_pack_and_frame said "pack $(basename "$pack" .pack): frame" "$1" store check -s "$work/store"
holds a_flipped_bit_is_repaired_from_a_copy "$1" store check -s "$work/store" --repair "$work/copy"
holds nothing_is_left_to_repair "$1" store check -s "$work/store"
holds a_repaired_pack_is_the_same_file cmp "$pack" "$work/copy/packs/$(basename "$pack")"
rm -r "$work"/store/catalogue.db* "$work/store/index"
holds a_store_without_a_catalogue_is_refused refused "$1" store list -s "$work/store"
holds a_rebuild_asks_whose_signature_counts said "any-signer" "$1" store rebuild -s "$work/store" -d "$work/key"
holds a_lost_catalogue_and_index_are_rebuilt "$1" store rebuild -s "$work/store" -d "$work/key" --any-signer
holds the_rebuilt_store_has_no_faults "$1" store check -s "$work/store"
holds the_rebuilt_store_lists_its_versions bash -c "'$1' store list -s '$work/store' | grep -q v2"
holds a_collection_loses_nothing "$1" store collect -s "$work/store" --now
holds the_collected_store_has_no_faults "$1" store check -s "$work/store"
# Two versions by two people's keys: a rebuild takes only those whose signature it was told to believe.
head -c 3000000 /dev/urandom >"$work/disk.raw"
for name in one two; do
    "$1" key new $name --out "$work/$name.key" --no-passphrase >/dev/null
    "$1" store publish "$work/disk.raw" "by $name" -s "$work/signed" -d "$work/signed.key" -k "$work/$name.key" >/dev/null 2>&1
done
rm -r "$work"/signed/catalogue.db*
holds a_rebuild_goes_on_without_what_nobody_known_signed "$1" store rebuild -s "$work/signed" -k "$work/one.key"
listed() { [ "$("$1" store list -s "$work/signed" | grep -o 'by one\|by two' | sort | tr '\n' ,)" = "$2" ]; }
holds only_the_known_signers_version_is_listed listed "$1" "by one,"
rm -r "$work"/signed/catalogue.db*
holds a_rebuild_with_both_keys "$1" store rebuild -s "$work/signed" -k "$work/one.key" -k "$work/two.key"
holds both_versions_are_listed listed "$1" "by one,by two,"
echo 1..$number
