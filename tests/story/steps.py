"""The steps of ./demo: each plays one part of the main job on real programs and an emulated PC, and raises Failed.

A step is a function of `say` (prints a line to the person watching) that returns the bytes it moved over the network,
or 0. Suite `story` runs the same functions.
"""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests/machine"), os.path.join(ROOT, "tests/attack")]
import pc as machine  # noqa: E402
import quick  # noqa: E402
import session as sessions  # noqa: E402
import debian_images  # noqa: E402
import fleet_steps  # noqa: E402
import pc_steps  # noqa: E402
from fleet_steps import Failed  # noqa: E402

# One attack of each kind that a person can picture: by the processor, by a device, around both.
SHOWN_ATTACKS = ["cpu-read", "cpu-write", "dma-read", "dma-write", "hpet-message"]


def build(_say):
    """Compiles every program."""
    if subprocess.run([os.path.join(ROOT, "tools/build")], check=False).returncode:
        raise Failed("Bulkhead does not build; the compiler's lines are above")
    return 0


def boot(say):
    """Boots a PC whose firmware starts Bulkhead, which starts Linux on every processor; shows what Linux reports."""
    folder = os.path.join(machine.WORK, "demo-boot.files")
    with machine.Pc("demo-boot", quick.boot("uefi", folder, ["show_status"]), tpm=True) as pc:
        pc.start()
        try:
            session = sessions.Session(pc).run()
            pc.wait_end()
        except machine.MachineError as error:
            raise Failed(str(error)) from error
        if session.up["bulkhead"] != "yes" or session.results.get("show_status", ("", ""))[0] != "ok":
            raise Failed(f"Linux does not run under Bulkhead; serial log: {pc.log}")
        say(f"Linux {session.up['kernel']} runs deprivileged on {session.up['cpus']} processors; it says:")
        for line in re.findall(r"show_status: (.*)", pc.text()):
            say("  " + line.rstrip())
    return 0


def isolation(say):
    """Lets attacks loose from the service domain's kernel and from devices, with and without Bulkhead."""
    import suite
    known = {attack.name: attack for attack in suite.ATTACKS}
    rows = suite.run([known[name] for name in SHOWN_ATTACKS], ("control", "protected"))
    say(f"{'attack':<14} {'from':<10} {'under Bulkhead':<15} without")
    for row in rows:
        say(f"{row['attack']:<14} {row['from']:<10} {row['protected']:<15} {row['control']}")
    bad = [row["attack"] for row in rows if not suite.is_good(row, ("control", "protected"))]
    if bad:
        raise Failed(f"{', '.join(bad)}: not as it should be; serial logs: {machine.WORK}/attack-*/serial.log")
    say("What the service domain can still do: see disks, network, keys and screen; stop everything")
    return 0


FIRST_OF_FLEET = 4


def steps(small):
    """[(title, function)] in order; `small` leaves out what takes a real image and an emulated PC."""
    return [
        ("Build Bulkhead", build),
        ("A PC boots Bulkhead beneath Linux", boot),
        ("Attacks from Linux's kernel and from devices, with and without Bulkhead", isolation),
        *fleet_steps.BEGIN,
        *([] if small else pc_steps.INSTALL),
        *fleet_steps.PUBLISH,
        *(fleet_steps.SMALL if small else pc_steps.WORK),
        *fleet_steps.BACKUP,
        *(fleet_steps.SMALL_SECOND if small else pc_steps.SECOND),
        *fleet_steps.LOST,
        *([] if small else pc_steps.LAST),
    ]


def begin(small):
    """Begins what takes long and is needed later."""
    if not small:
        debian_images.begin()


def end():
    """Ends what the steps left running."""
    debian_images.end()
    pc_steps.end()
    fleet_steps.end()
