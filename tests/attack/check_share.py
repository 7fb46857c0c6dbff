#!/usr/bin/env python3
"""The rotating share of the attack suite that every ./check runs: TAP, one line an attack.

Every attack that leaves the machine whole runs each time; of the destructive ones and of the control runs only a few, in
turns (tests/machine/share.py). ./attack runs all.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import suite  # noqa: E402
import share  # noqa: E402  (tests/machine)
from attack import NONE  # noqa: E402

PROTECTED_SHARE, CONTROL_SHARE = 3, 3


def main():
    alone = [attack for attack in suite.ATTACKS if attack.destructive]
    shared = [attack for attack in suite.ATTACKS if not attack.destructive]
    controls = [attack for attack in suite.ATTACKS if attack.control != NONE]
    number = 0
    failed = False
    for side, attacks in (("protected", shared + share.of(alone, PROTECTED_SHARE)),
                          ("control", share.of(controls, CONTROL_SHARE))):
        for row in suite.run(attacks, [side]):
            number += 1
            good = suite.is_good(row, [side])
            failed = failed or not good
            print(f"{'' if good else 'not '}ok {number} - {side}.{row['attack']} {row[side]}", flush=True)
    print(f"1..{number}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
