#!/usr/bin/env python3
"""The service domain's system image under Bulkhead, from firmware to a root shell and off again. TAP.

The same packages, kernel, initrd and services as the product's; what differs is inside the file that the TPM measures:
a shell on the serial port, and no look by Linux whether its timer's interrupt comes in time (see TIMER).
"""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import pc as machine  # noqa: E402
import session as sessions  # noqa: E402
from quick import TIMER  # noqa: E402

SECONDS = 3 * machine.SECONDS


def make_image():
    done = subprocess.run([os.path.join(machine.ROOT, "image/build"), "--console", "--name", "test", "--append", TIMER],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise machine.MachineError(f"image/build: {done.stderr[-800:]}")
    return done.stdout.strip().splitlines()[-1]


def ask(pc, command):
    """Runs a command in the service domain; (its output, whether it ended well)."""
    lines = []
    pc.send(f"{command}; echo ST''ATUS=$?\n")
    status = pc.wait(r"STATUS=(\d+)", SECONDS, also=lines.append).group(1)
    return "\n".join(lines), status == "0"


def check(pc):
    """[(name, reason or "")]"""
    text, good = ask(pc, "bulkhead status --json")
    try:
        facts = json.loads(text[text.index("{"):text.rindex("}") + 1])["facts"]
    except ValueError:
        good, facts = False, {}
    yield "runs_under_bulkhead", "" if good else f"bulkhead status: {text[-300:]}"
    for fact in ("dma_contained", "interrupts_checked", "measured_boot"):
        yield fact, "" if facts.get(fact) else "status does not say so"
    text, good = ask(pc, '[ "$(cat /sys/devices/system/cpu/online)" = 0-1 ]')
    yield "has_all_processors", "" if good else text[-300:]
    text, good = ask(pc, "systemctl is-active bulkhead-driver.service")
    yield "driver_service_is_active", "" if good else text[-300:]
    text, good = ask(pc, "touch /usr/written")
    yield "system_is_read_only", "it could be written" if good else ""
    pc.send("systemctl poweroff\n")
    pc.wait_end(SECONDS)
    yield "memory_is_cleared_before_power_off", "" if "clearing guests' memory" in pc.text() else "the log does not say so"


def main():
    tap = sessions.Tap()
    try:
        with machine.Pc("product", machine.DiskImage(make_image()), tpm=True, scratch_mib=0) as pc:
            pc.start()
            pc.wait(r"#BH# ", SECONDS, prompt=True)
            for name, reason in check(pc):
                tap.report("not ok" if reason else "ok", f"product.{name}", reason)
    except machine.MachineError as error:
        tap.report("not ok", "product.reaches_its_end", str(error))
    else:
        tap.report("ok", "product.reaches_its_end")
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
