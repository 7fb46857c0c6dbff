"""Runs attacks against Bulkhead and, for each, the control that shows the attack works where nothing stops it."""
import itertools
import time

import by_chipset
import by_device
import by_guest
import by_hypervisor
import by_leaving
import by_processor
import by_relay
import by_sweep
import victim as victims
from attack import BARE, NONE, UNPROTECTED

ATTACKS = (by_processor.ATTACKS + by_device.ATTACKS + by_chipset.ATTACKS + by_leaving.ATTACKS + by_guest.ATTACKS +
           by_relay.ATTACKS + by_hypervisor.ATTACKS + by_sweep.ATTACKS)
SUCCEEDED, STOPPED, NO_RESULT = "succeeded", "stopped", "no result"
NOTHING_TO_BREAK = "nothing to break"


def batches(attacks, protected):
    """(pc, more, attacks) of each machine to boot. Under Bulkhead all attacks with the same kind of machine follow one
    another on one: what is stopped leaves it whole. Without it a destructive attack leaves nothing to attack."""
    shared = [a for a in attacks if protected or not a.destructive]
    key = _protected_key if protected else _control_key
    for _, group in itertools.groupby(sorted(shared, key=key), key):
        group = list(group)
        yield group[0].pc, group[0].more, group
    for attack in attacks:
        if attack not in shared:
            yield attack.pc, attack.more, [attack]


def _protected_key(attack):
    return repr(sorted(attack.pc.items()))


def _control_key(attack):
    return repr((attack.control, attack.machine()))


def run_batch(attacks, protected, pc, more, report):
    """Boots a machine and lets the attacks loose one after the other; a fresh one goes on where one is spoilt.

    Returns {name: verdict}. An attack that gave no result on a used machine is tried once more on a fresh one.
    """
    kind = "protected" if protected else "control"
    control = None if protected else attacks[0].control
    has_bulkhead = control != BARE
    verdicts = {}
    left = list(attacks)
    while left:
        name = f"attack-{kind}-{left[0].name}"
        is_fresh = True
        try:
            with victims.Victim(name, has_bulkhead, pc=pc, more="" if has_bulkhead else more,
                                weaken=control if control not in (None, BARE, UNPROTECTED) else None,
                                guests_protected=control != UNPROTECTED) as victim:
                while left:
                    started = time.monotonic()
                    attack = left[0]
                    verdict = _one(attack, victim)
                    if verdict.startswith(NO_RESULT) and not is_fresh:
                        break
                    left.pop(0)
                    verdicts[attack.name] = verdict
                    report(f"{kind}: {attack.name}: {verdict} ({time.monotonic() - started:.0f} s)")
                    is_fresh = False
                    if left and not victim.is_well():
                        break
        except victims.machine.MachineError as error:
            attack = left.pop(0)
            verdicts[attack.name] = f"{NO_RESULT}: {error}".splitlines()[0]
            report(f"{kind}: {attack.name}: {verdicts[attack.name]}")
    return verdicts


def _one(attack, victim):
    try:
        return SUCCEEDED if attack.act(victim) else STOPPED
    except victims.Fault as fault:
        return f"{NO_RESULT}: {fault}"
    except victims.Gone as gone:
        return f"{NO_RESULT}: {gone}".splitlines()[0]


def run(attacks, sides=("control", "protected"), report=lambda line: None):
    """Runs both sides; returns rows {attack, from, protected, control}."""
    rows = {a.name: {"attack": a.name, "from": a.source, "protected": "not run",
                     "control": NOTHING_TO_BREAK if a.control == NONE else "not run"} for a in attacks}
    for side in sides:
        chosen = [a for a in attacks if side == "protected" or a.control != NONE]
        for pc, more, group in batches(chosen, side == "protected"):
            for name, verdict in run_batch(group, side == "protected", pc, more, report).items():
                rows[name][side] = verdict
    return [rows[a.name] for a in attacks]


def is_good(row, sides=("control", "protected")):
    """A protected run must be stopped, a control must succeed (or there is none to be had)."""
    return ("protected" not in sides or row["protected"] == STOPPED) and \
        ("control" not in sides or row["control"] in (SUCCEEDED, NOTHING_TO_BREAK))
