#!/usr/bin/env bash
# `bulkhead image mount` shows exactly the bytes that were published, and no file can be changed through it.
# The files of its partitions are those that were put there, and a damaged file system harms nobody.
# Usage: ... BULKHEAD WRITE_STORE FILE_VIEW
set -euo pipefail
[ -w /dev/fuse ] || { echo "1..0 # SKIP no /dev/fuse here"; exit 0; }
work=$(mktemp -d)
trap 'fusermount3 -u "$work/view" 2>/dev/null || true; rm -rf "$work"' EXIT
"$2" "$work"
printf '\007%.0s' {1..32} >"$work/key"
mkdir "$work/view"
number=0
say() {
    number=$((number + 1))
    echo "$1 $number - $2"
}
for label in v1 day; do
    "$1" image mount $label "$work/view" -s "$work/store" -d "$work/key" 2>"$work/log" &
    for _ in $(seq 200); do
        [ -e "$work/view/disk.raw" ] && break
        sleep 0.1
    done
    # This disk has no partitions: one file system, in whole sectors.
    sectors=$(stat -c %s "$work/view/partition-1.raw" || echo 0)
    if [ "$sectors" = $((40 * 1024 * 1024 + 512)) ] && cmp "$work/view/disk.raw" "$work/$label.raw" &&
        cmp -n "$sectors" "$work/view/partition-1.raw" "$work/$label.raw"; then
        say ok "the_mounted_version_${label}_has_the_published_bytes"
    else
        say "not ok" "the_mounted_version_${label}_has_the_published_bytes"
    fi
    if { echo x >"$work/view/disk.raw"; } 2>/dev/null || rm -f "$work/view/disk.raw" 2>/dev/null; then
        say "not ok" "nothing_is_written_through_the_view_of_$label"
    else
        say ok "nothing_is_written_through_the_view_of_$label"
    fi
    fusermount3 -u "$work/view"
    wait
done
if "$1" image mount v1 "$work/none" -s "$work/store" -d "$work/key" 2>"$work/log"; then
    say "not ok" "a_folder_that_is_missing_is_named"
elif grep -q "none" "$work/log"; then
    say ok "a_folder_that_is_missing_is_named"
else
    say "not ok" "a_folder_that_is_missing_is_named"
fi
# Files: a deep tree, many names, content of some megabytes, all kinds of links, in two partitions of a disk.
tree=$work/tree
mkdir -p "$tree/a/b/c/d" "$tree/many"
head -c 3000001 /dev/urandom >"$tree/a/big"
echo small >"$tree/a/b/c/d/small"
: >"$tree/empty"
for i in $(seq 2500); do : >"$tree/many/a file with a rather long name, number $i"; done
ln -s a/big "$tree/relative"
ln -s /a/b/c "$tree/a/b/absolute"
ln -s "$(printf 'x%.0s' {1..200})" "$tree/dangling"
ln "$tree/a/big" "$tree/hard"
truncate -s 40M "$work/ext4"
mke2fs -q -F -t ext4 -O inline_data -d "$tree" "$work/ext4"
truncate -s 83M "$work/parted.raw"
printf 'label: gpt\nstart=2048,size=81920\nstart=83968,size=81920\n' | sfdisk -q "$work/parted.raw"
dd if="$work/ext4" of="$work/parted.raw" bs=1M seek=1 conv=notrunc status=none
"$1" key new images --out "$work/images.key" --no-passphrase >/dev/null
mounted() { # mounted DISK LABEL: publishes and mounts it
    "$1" store publish "$2" "$3" -s "$work/files" -d "$work/files.key" -k "$work/images.key" >/dev/null 2>&1
    "$1" image mount "$3" "$work/view" -s "$work/files" -d "$work/files.key" --reader "$reader" 2>"$work/log" &
    for _ in $(seq 200); do
        [ -e "$work/view/disk.raw" ] && return
        sleep 0.1
    done
}
reader=$3
mounted "$1" "$work/parted.raw" good
if [ "$(ls "$work/view")" = "$(printf '%s\n' disk.raw files-1 partition-1.raw partition-2.raw)" ]; then
    say ok a_partition_without_a_file_system_shows_its_bytes_only
else
    say "not ok" a_partition_without_a_file_system_shows_its_bytes_only
fi
if diff -r --no-dereference --exclude lost+found "$work/view/files-1" "$tree" >"$work/diff" 2>&1; then
    say "not ok" an_absolute_link_leads_within_the_files
else # the one absolute link is shown as one that stays inside
    [ "$(wc -l <"$work/diff")" = 1 ] && [ "$(readlink "$work/view/files-1/a/b/absolute")" = ../../a/b/c ] &&
        cmp "$work/view/files-1/a/b/absolute/d/small" "$tree/a/b/c/d/small" && verdict=ok || verdict="not ok"
    say "$verdict" the_files_are_those_that_were_put_there
fi
{ echo x >"$work/view/files-1/empty"; } 2>/dev/null && verdict="not ok" || verdict=ok
say "$verdict" no_file_is_written_through_the_view
fusermount3 -u "$work/view"
wait
# Control and attack: without its reader the bytes are still there; damaged metadata gives errors, and nothing else.
reader=/nonexistent
mounted "$1" "$work/parted.raw" alone
! ls "$work/view/files-1" >/dev/null 2>&1 && cmp -n 1000000 "$work/view/disk.raw" "$work/parted.raw" &&
    grep -q "its reader" "$work/log" && verdict=ok || verdict="not ok"
say "$verdict" a_reader_that_cannot_start_is_named_and_the_bytes_are_shown
fusermount3 -u "$work/view"
wait
reader=$3
python3 - "$work/parted.raw" <<'END'
import random, sys
dice = random.Random(7)
with open(sys.argv[1], "r+b") as disk:
    for _ in range(4000):  # group descriptors, inode tables, directories: the superblock's magic stays
        disk.seek((1 << 20) + 4096 + dice.randrange(3 << 20))
        disk.write(bytes([dice.randrange(256)]))
END
mounted "$1" "$work/parted.raw" damaged
find "$work/view/files-1" >/dev/null 2>&1 || true
find "$work/view/files-1" -type f -exec head -c 100000 {} + >/dev/null 2>&1 || true
cmp -n 1000000 "$work/view/disk.raw" "$work/parted.raw" && verdict=ok || verdict="not ok"
say "$verdict" a_damaged_file_system_harms_nobody
fusermount3 -u "$work/view"
wait
echo 1..$number
