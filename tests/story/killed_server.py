"""The server dies at every step (statement, commit, write, sync, rename) of every command that changes something there.

Each command is asked for with the server dying at step 1, then 2, and so on until it gets through. Where it failed, it
must have said one line that names server, reason and remedy; the server then starts over the same directory, the same
words must lead to the same end (or to a line that says it is done already), and the audit log must be whole.
`tests/story/killed_server.py --table` prints the table of docs/server.md.
"""
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from company import BUILD, PATIENCE, PC, Company, Failure, tell, wait_for

ROWS = []
DIED = 9
SPARE = 40  # users and groups: more than a command has steps
REMEDY = re.compile(r"see that the server runs|ask again|run it again")
# What a command may say that is asked for again after the server had done it without being able to answer.
DONE_ALREADY = re.compile(r"already|there is one|exists|is not |nothing to|no such|is published")


def commands(company, pc):
    """[(name, words made of a number, who asks)]: the number makes words that were not said before."""
    images, policy, root = company.key("images.key"), company.key("policy.key"), company.key("root.key")
    officers = ["--key", company.key("officer-1.key"), "--key", company.key("officer-2.key")]
    disk, table, word = (os.path.join(company.directory, name) for name in ("image.raw", "staff.csv", "word"))
    with open(word, "w") as file:
        file.write("correct horse battery staple\n")

    def staff(n):
        with open(table, "w") as file:
            file.write(f"person{n},A Person,p{n}@example.org,staff{n}\n")
        return ["user", "import", table]

    return [
        ("sync, on the PC", lambda n: ["sync"], pc.command),  # before a floor puts what the PC has out of force
        ("user add", lambda n: ["user", "add", f"user{n}"], company.admin),
        ("user import", staff, company.admin),
        ("user remove", lambda n: ["user", "remove", f"spare{n}"], company.admin),
        ("group add", lambda n: ["group", "add", f"group{n}"], company.admin),
        ("group join", lambda n: ["group", "join", f"spare{n}", "alice"], company.admin),
        ("account add", lambda n: ["account", "add", f"admin{n}", "--role", "helpdesk", "--password-file", word], company.admin),
        # An image of its own each: publishing takes a step for each version that the image has.
        ("image publish", lambda n: ["image", "publish", disk, "--name", f"tool{n}", "--version", "1", "--key", images],
         company.admin),
        ("image stage", lambda n: ["image", "stage", "work", "2", ("staged", "deployed")[n % 2]], company.admin),
        ("image offer", lambda n: ["image", "offer", "work", "--group", f"spare{n}"], company.admin),
        ("image floor", lambda n: ["image", "floor", "work", "2", "--key", images], company.admin),
        ("image renew", lambda n: ["image", "renew", "work", "--key", images], company.admin),
        ("assign", lambda n: ["assign", "work", "--group", f"spare{n}"], company.admin),
        ("unassign", lambda n: ["unassign", "work", "--group", f"spare{n}"], company.admin),
        ("policy set", lambda n: ["policy", "set", "quota_gib", str(100 + n), "--key", policy], company.admin),
        ("key drop", lambda n: ["key", "drop", "destruction", company.key("officer-3.key"), "--root", root], company.admin),
        ("device token", lambda n: ["device", "token"], company.admin),
        ("device set", lambda n: ["device", "set", "pc-1", "--ring", ("test", "deployed")[n % 2]], company.admin),
        ("device lock", lambda n: ["device", "lock", "pc-1"], company.admin),
        ("device unlock", lambda n: ["device", "unlock", "pc-1"], company.admin),
        ("device revert", lambda n: ["device", "revert", "pc-1", "work", "--release", "1"], company.admin),
        ("device update", lambda n: ["device", "update", "pc-1", "work"], company.admin),
        ("device wipe", lambda n: ["device", "wipe", "pc-1", "--hold", *officers], company.admin),
        ("backup run, on the PC", lambda n: ["backup", "run", "work"], pc.command),
    ]


class Dying:
    """The company's server, able to die."""

    def __init__(self, company):
        self.company = company
        company.kill_server()
        company.server.command[0] = os.path.join(BUILD, "tests/story/dying-server")

    def start(self, at_step):
        self.company.server.kwargs["env"] = dict(os.environ, DIE_AT_STEP=str(at_step))
        self.company.restart_server()
        if at_step:
            self.company.server.process.send_signal(signal.SIGUSR1)

    def has_died(self, failed):
        """Whether it died at a step; anything else that ended it is a failure."""
        if not failed:
            # It may die of what it does after the answer: one more question shows it.
            failed = self.company.admin("server", "show", ok=False)[0]
        if not failed:
            return False
        try:
            status = self.company.server.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failure("the command fails though the server lives") from None
        if status != DIED:
            raise Failure(f"the server ended by itself with {status}")
        return True


def one_line(text, directory):
    lines = [line for line in text.strip().splitlines() if line.strip() and not line.startswith("Backing up")]
    text = lines[0] if len(lines) == 1 else "\n".join(lines)
    text = re.sub(r"localhost[: ](port )?\d+", "localhost:PORT", text.replace(directory, "..."))
    return re.sub(r"([a-z])\d+\b", r"\1N", re.sub(r" after \d+ ms", "", text))


def ask_dying(dying, ask, words):
    """Asks; returns what came of it and whether the server died. A PC goes on by itself once the server is back, so the
    server comes back at once where a PC asks; an administrator's command ends."""
    with ThreadPoolExecutor() as other:
        asking = other.submit(ask, *words, ok=False)
        while ask != dying.company.admin and not asking.done():
            if dying.company.server.process.poll() is not None:
                dying.has_died(True)
                dying.start(0)
                return *asking.result(), True
            time.sleep(0.05)
        status, text = asking.result()
    try:
        return status, text, dying.has_died(status)
    except Failure as failure:
        raise Failure(f"{failure}: {text}") from failure


def play(dying, directory, name, words_of, ask):
    said, again, number, died = set(), set(), 0, True
    while died:
        number += 1
        words = words_of(number)
        dying.start(number)
        status, text, died = ask_dying(dying, ask, words)
        dying.start(0)
        if status:
            line = one_line(text, directory)
            if "\n" in line or "localhost" not in line or not REMEDY.search(line):
                raise Failure(f"{name}, server killed at step {number}: {text}")
            said.add(line)
            status, text = ask(*words, ok=False)
            if status and not DONE_ALREADY.search(text):
                raise Failure(f"{name}, asked again after step {number}: {text}")
            again.add(one_line(text, directory) if status else "done")
        dying.company.admin("audit", "verify")
    ROWS.append((name, number - 1, sorted(said), sorted(again)))
    print(f"# {name}: killed at {number - 1} steps; said: {'; '.join(sorted(said)) or 'nothing, it was done'}; "
          f"asked again: {'; '.join(sorted(again)) or '-'}", flush=True)


def server_dies_at_every_step_of_every_command(directory, keep):
    company = Company(directory)
    keep(company)
    company.admin("user", "add", "alice")
    company.admin("key", "new", "destruction", "--out", company.key("officer-3.key"), "--no-passphrase")
    company.admin("key", "add", "destruction", company.key("officer-3.key"), "--root", company.key("root.key"))
    with open(os.path.join(directory, "spare.csv"), "w") as file:
        file.writelines(f"spare{n},,,spare{n}\n" for n in range(1, SPARE))
    company.admin("user", "import", os.path.join(directory, "spare.csv"))
    company.publish("work", "1", b"system one")
    company.publish("work", "2", b"system two")
    company.admin("assign", "work", "--user", "alice")
    pc = PC(directory, "pc-1", poll=3600)
    keep(pc)
    pc.enrol(company, "alice")
    pc.command("sync")
    wait_for("the guest", lambda: pc.guests().get("work", {}).get("release") == 2)
    pc.start("work")
    pc.write("work", [(0, b"a day's work")])
    dying = Dying(company)
    for name, words_of, ask in commands(company, pc):
        play(dying, directory, name, words_of, ask)


def table():
    print("| command | steps | what it said where it could not know | asked again |\n|---|---|---|---|")
    for name, steps, said, again in ROWS:
        print(f"| {name} | {steps} | {'<br>'.join(said) or 'nothing: it was done'} | {'<br>'.join(again) or '-'} |")


if __name__ == "__main__":
    try:
        tell([server_dies_at_every_step_of_every_command])
    finally:
        if "--table" in sys.argv:
            table()
