"""Runs attacks against Bulkhead and, for each, the control that shows the attack works where nothing stops it."""
import itertools
import time

import by_chipset
import by_device
import by_leaving
import by_processor
import by_sweep
import victim as victims

ATTACKS = by_processor.ATTACKS + by_device.ATTACKS + by_chipset.ATTACKS + by_leaving.ATTACKS + by_sweep.ATTACKS
SUCCEEDED, STOPPED = "succeeded", "stopped"
WITHOUT_CONTROL = {"refused": "can only be refused", "none": "nothing to break"}


def batches(attacks):
    """Attacks that can share a machine, then the destructive ones, one machine each."""
    for (pc, more), group in itertools.groupby(sorted((a for a in attacks if not a.destructive), key=_key), _machine):
        yield dict(pc), more, list(group)
    for attack in attacks:
        if attack.destructive:
            yield attack.pc, attack.more, [attack]


def _machine(attack):
    return attack.machine()


def _key(attack):
    return repr(attack.machine())


def run_batch(attacks, protected, pc, more, report):
    """Boots one machine and lets the attacks loose one after the other. Returns {name: verdict}."""
    kind = "protected" if protected else "control"
    name = f"attack-{kind}-{attacks[0].name}"
    verdicts = {}
    try:
        with victims.Victim(name, protected, pc=pc, more="" if protected else more) as victim:
            for attack in attacks:
                started = time.monotonic()
                verdicts[attack.name] = _one(attack, victim)
                report(f"{kind}: {attack.name}: {verdicts[attack.name]} ({time.monotonic() - started:.0f} s)")
    except victims.machine.MachineError as error:
        for attack in attacks:
            if attack.name not in verdicts:
                verdicts[attack.name] = f"no result: {error}".splitlines()[0]
                report(f"{kind}: {attack.name}: {verdicts[attack.name]}")
    return verdicts


def _one(attack, victim):
    try:
        return SUCCEEDED if attack.act(victim) else STOPPED
    except victims.Fault as fault:
        return f"no result: {fault}"
    except victims.Gone as gone:
        return f"no result: {gone}".splitlines()[0]


def run(attacks, sides=("control", "protected"), report=lambda line: None):
    """Runs both sides; returns rows {attack, from, protected, control}."""
    rows = {a.name: {"attack": a.name, "from": a.source, "protected": "not run",
                     "control": WITHOUT_CONTROL.get(a.control, "not run")} for a in attacks}
    for side in sides:
        chosen = [a for a in attacks if side == "protected" or a.control == "stock"]
        for pc, more, group in batches(chosen):
            for name, verdict in run_batch(group, side == "protected", pc, more, report).items():
                rows[name][side] = verdict
    return [rows[a.name] for a in attacks]


def is_good(row, sides=("control", "protected")):
    """A protected run must be stopped, a control must succeed (or there is none to be had)."""
    return ("protected" not in sides or row["protected"] == STOPPED) and \
        ("control" not in sides or row["control"] in (SUCCEEDED, *WITHOUT_CONTROL.values()))
