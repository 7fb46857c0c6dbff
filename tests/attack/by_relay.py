"""Attacks through the virtio relay: a backend of a protected Linux guest's device lies about what it did.

The guest is the machine tests' own, run by the monitor; what the guest saw says whether the lie reached it.
"""
from attack import Attack
from victim import Gone

SECONDS = 600
VERDICTS = {"the lie was caught, the guest went on": False, "the lie reached the guest": True}


def lying_backend(victim):
    """A backend says that it wrote more than the guest's buffer holds."""
    answer = victim.shell("/cases/lying_backend_is_caught >/tmp/answer 2>&1; tail -n 1 /tmp/answer", SECONDS)
    if answer not in VERDICTS:
        raise Gone(f"lying_backend_is_caught: {answer}")
    return VERDICTS[answer]


ATTACKS = [Attack("backend-length", "backend", lying_backend, control="relay-length", pc={"with_guest": True})]
