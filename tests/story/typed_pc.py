"""An installed PC as the person at it uses it: its console, with a key per machine, and its commands, typed at the root shell
that the medium of a lab leaves on the serial port. `TypedPc` answers what company.PC does, so that the fleet's steps play on
either.
"""
import contextlib
import json
import re
import shlex

import installed_pc
from company import Failure, wait_for

LOG_IN = "user"     # the image's person, image/guest/customize
TO_OVERVIEW = "\x1b[24~"
LEAVE = "q"


class Console:
    """The person at the PC's console, which the serial port shows in place of the screen: a key, and what is seen then."""

    def __init__(self, pc):
        self.pc = pc

    def __enter__(self):
        self.pc.pc.send("bulkhead console\n")
        self.sees(r"IN FRONT")
        return self

    def __exit__(self, failure, *_):
        if not failure:
            self.types(TO_OVERVIEW)
            self.sees(r"IN FRONT: Bulkhead")
            self.types(LEAVE)
            self.pc.shell()

    def types(self, text):
        self.pc.pc.send(text)

    def sees(self, pattern):
        return self.pc.pc.wait(pattern, installed_pc.SECONDS, prompt=True)

    def front(self, number, guest, whose):
        """Presses the guest's key, and reads on the last line who gets the keys from now on."""
        self.types(f"\x1b{number}")
        self.sees(rf"IN FRONT: {guest} \({whose}\)")

    def log_in(self):
        """Returns the machine's own name, as its prompt says it."""
        self.sees(r"login:")
        self.types(LOG_IN + "\n")
        return self.sees(rf"{LOG_IN}@([\w.-]+)").group(1)

    def asks(self, line, pattern):
        """Types a line into the guest in front. `pattern` must not be found in the line itself."""
        self.types(line + "\n")
        return self.sees(pattern)


class TypedPc:
    """What company.PC is, of an installed PC that runs. `name`: by which the server knows it."""

    def __init__(self, pc, name):
        self.pc, self.name = pc, name
        self.data = pc.folder  # as somebody has it who took the PC's disk out
        self.is_logged_in = False

    def command(self, *words, stdin="", ok=True):
        line = shlex.join(["bulkhead", *words]) + " 2>&1"
        if stdin:
            line = f"printf %s {shlex.quote(stdin)} | {line}"
        status, said = self.pc.ask(line)
        if ok and status != 0:
            raise Failure(f"{line}: {said.strip()}")
        return said if ok else (status, said)

    def status(self):
        return json.loads(self.command("agent", "--json"))

    def guests(self):
        return {guest["name"]: guest for guest in json.loads(self.command("guest", "list", "--json"))}

    def sync(self):
        """Asks the server for news, which would come with the next minute; whether it answered."""
        return self.command("sync", ok=False)[0] == 0

    def start(self, guest):
        if self.guests()[guest]["state"] != "running":
            self.command("guest", "start", guest)
            self.is_logged_in = False

    def end(self, guest, now=False):
        """By its power button, as a person does who is done, or `now`."""
        self.command("guest", "stop", guest, *(["--now"] if now else []))
        wait_for("the guest's end", lambda: self.guests()[guest]["state"] != "running", installed_pc.SECONDS)

    @contextlib.contextmanager
    def seat(self, guest):
        """The person at the company's machine, logged in there."""
        with Console(self.pc) as console:
            console.front(1, guest, "company's")
            if not self.is_logged_in:
                console.log_in()
                self.is_logged_in = True
            yield console

    def leave(self, guest, mark):
        """Has the person write a file. Where its file system puts it, nobody says."""
        with self.seat(guest) as console:
            console.asks(f"echo {shlex.quote(mark.decode())} >letter; sync; echo sum $((70 + 5))", "sum 75")

    def has(self, guest, mark):
        with self.seat(guest) as console:
            # The screen is seen while it is drawn, so the answer has an end.
            found = console.asks('echo "letter: $(cat letter) :end"', rf"letter: ({re.escape(mark.decode())}|) :end")
        return found.group(1) == mark.decode()

    def spill(self, guest):
        """Writes the newest backup of a guest's user disk into a file on an unencrypted disk; that disk."""
        self.pc.run("mkfs.ext4 -q /dev/nvme1n1 && mkdir -p /run/plain && mount /dev/nvme1n1 /run/plain")
        self.command("backup", "restore", guest, "--into", "/run/plain/disk")
        self.pc.run("umount /run/plain")
        return self.pc.scratch()

    def around(self):
        return f"tail -f {self.pc.pc.log}"

    def stop(self):
        self.pc.power_off()
