#!/usr/bin/env bash
# `bulkhead image mount` shows exactly the bytes that were published, and no file can be changed through it.
# Usage: ... BULKHEAD WRITE_STORE
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
echo 1..$number
