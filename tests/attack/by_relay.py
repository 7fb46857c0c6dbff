"""Attacks through the virtio relay: a backend of a protected Linux guest's device lies about what it did, or the guest does.

The guest is the machine tests' own, run by the monitor; what the guest saw says whether the lie reached it.
"""
from attack import Attack
from victim import Gone

SECONDS = 600
VERDICTS = {"the lie was caught, the guest went on": False, "the lie reached the guest": True,
            "every ring was refused": False, "a ring was believed": True}


def case(name):
    """The machine tests' case, whose last line is the verdict."""
    def act(victim):
        answer = victim.shell(f"/cases/{name} >/tmp/answer 2>&1; tail -n 1 /tmp/answer", SECONDS)
        if answer not in VERDICTS:
            raise Gone(f"{name}: {answer}")
        return VERDICTS[answer]
    return act


ATTACKS = [
    Attack("backend-length", "backend", case("lying_backend_is_caught"), control="relay-length", pc={"with_guest": True}),
    Attack("guest-rings", "guest", case("hostile_rings_are_refused"), control="ring-index", pc={"with_guest": True}),
]
