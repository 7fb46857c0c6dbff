"""Which of the costly tests run this time.

A boot of an emulated PC takes half a minute, so `./check` runs those that seldom find something in turns. The turn is
the day, or CHECK_TURN=NUMBER; CHECK_TURN=all runs everything, as before a release.
"""
import os
import time

TURN = os.environ.get("CHECK_TURN", "")


def everything():
    return TURN == "all"


def turn():
    return int(TURN) if TURN.isdigit() else int(time.time() // 86400)


def of(items, count):
    """This turn's `count` of the items: neighbours on the ring, further along with every turn."""
    items = list(items)
    if everything() or count >= len(items):
        return items
    return [items[(turn() * count + i) % len(items)] for i in range(count)]
