"""Sweeps: thousands of strange acts, after which the hypervisor must still stand and have said nothing.

There is no control: without a hypervisor there is nothing to break.
"""
from attack import NONE, Attack
from victim import IDENTITY, Gone, command

SWEEPS = {
    "hypercalls": "calls 20000", "cpuid": "cpuid", "msr-reads": "read-msrs", "msr-writes": "write-msrs",
    "port-reads": "read-ports", "instructions": "instructions 5000",
}


def sweep(words):
    def act(victim):
        identity = command("cpuid", IDENTITY)
        before = victim.shell(identity)
        result = victim.shell(f"sweep {words}", 300)
        if not result.startswith("answered"):
            raise Gone(f"the sweep did not run to its end: {result}")
        # Both processors still answer, the hypervisor still says who it is, and it has not panicked.
        answers = [victim.shell(command("cpuid", IDENTITY, processor=processor)) for processor in (0, 1)]
        return answers != [before, before] or "panic" in victim.pc.text().lower()
    return act


ATTACKS = [Attack(f"sweep-{name}", "processor", sweep(words), control=NONE) for name, words in SWEEPS.items()]
