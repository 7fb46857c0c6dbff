#!/usr/bin/env python3
"""The rotating share of the attack suite that every ./check runs: TAP, one line an attack.

Every attack that can share a machine runs each time; of those that need a machine of their own (and of the control
runs) only a few, chosen by the number of commits, so that a week's work runs through all of them. ./attack runs all.
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import suite  # noqa: E402
import victim as victims  # noqa: E402

PROTECTED_SHARE, CONTROL_SHARE = 3, 2


def rotate(items, count, turn):
    """`count` neighbours of the ring of items, further along with every turn."""
    return [items[(turn * count + i) % len(items)] for i in range(min(count, len(items)))]


def main():
    counted = subprocess.run(["git", "rev-list", "--count", "HEAD"], cwd=victims.ROOT, capture_output=True, text=True,
                             check=False).stdout.strip()
    turn = int(counted or 0)
    alone = [attack for attack in suite.ATTACKS if attack.destructive]
    shared = [attack for attack in suite.ATTACKS if not attack.destructive]
    controls = [attack for attack in alone if attack.control == suite.STOCK]
    number = 0
    failed = False
    for side, attacks in (("protected", shared + rotate(alone, PROTECTED_SHARE, turn)),
                          ("control", rotate(controls, CONTROL_SHARE, turn))):
        for row in suite.run(attacks, [side]):
            number += 1
            good = suite.is_good(row, [side])
            failed = failed or not good
            print(f"{'' if good else 'not '}ok {number} - {side}.{row['attack']} {row[side]}", flush=True)
    print(f"1..{number}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
