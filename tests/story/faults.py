"""Faults a company meets, each made for real, and what is printed then: one line that names thing, reason and remedy;
afterwards everything goes on. `tests/story/faults.py --table` prints the table of docs/server.md."""
import datetime
import os
import re
import sqlite3
import subprocess
import sys
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from company import Failure, Process, alices_pc, company_with_work, run, tell, wait_for

ROWS = []


def said(fault, who, text, *expected):
    """Notes what was printed; fails unless it is one line with all that was expected in it."""
    lines = [line for line in text.strip().splitlines() if line.strip() and line != "Backing up"]
    if len(lines) != 1 or any(word not in lines[0] for word in expected):
        raise Failure(f"{fault}: expected one line with {expected}, got: {text}")
    line = re.sub(r"/\S*bulkhead-story-[^/\s]*", "...", lines[0].removeprefix(who + ": "))
    line = re.sub(r"(localhost[: ]|127\.0\.0\.1:|port )\d+", r"\1PORT", re.sub(r"\bd-[a-z0-9]{10,}", "d-...", line))
    ROWS.append((fault, who, line))
    print(f"# {fault}: {who}: {line}")


def trouble(pc, word):
    return wait_for(f"the PC to say \"{word}\"", lambda: word in pc.status()["trouble"] and pc.status()["trouble"])


def arrived(pc, release):
    wait_for(f"release {release}", lambda: os.path.exists(os.path.join(pc.data, f"images/work/{release}/complete")))


class Small:
    """A file system of few MiB in a place, filled and emptied at will."""

    def __init__(self, place, mib):
        self.place, self.full = place, os.path.join(place, "filler")
        os.makedirs(place, exist_ok=True)
        run("mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", place)

    def fill(self, but_bytes=0):
        try:
            with open(self.full, "wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 65536)
        except OSError:
            pass
        if but_bytes:
            os.truncate(self.full, os.path.getsize(self.full) - but_bytes)

    def empty(self):
        os.unlink(self.full)

    def stop(self):
        subprocess.run(["umount", "--lazy", self.place], check=False)


def start(directory, keep, **options):
    company = company_with_work(directory, keep)
    pc = alices_pc(directory, keep, company, **options)
    arrived(pc, 1)
    return company, pc


def disk_of_the_server_is_full(directory, keep):
    small = Small(os.path.join(directory, "server"), 48)
    keep(small)
    company, pc = start(directory, keep)
    pc.start("work")
    pc.write("work", [(0, b"a day's work")])
    big = os.path.join(directory, "big.raw")
    with open(big, "wb") as file:
        file.write(os.urandom(8 << 20))
    small.fill()
    _, text = company.admin("image", "publish", big, "--name", "work", "--version", "2", "--key",
                            company.key("images.key"), ok=False)
    said("server's disk full", "bulkhead image publish", text, "the server's disk is full", "free")
    _, text = company.admin("user", "add", "bob", ok=False)
    said("server's disk full", "bulkhead user add", text, "the server's disk is full", "free")
    _, text = pc.command("backup", "run", "work", ok=False)
    said("server's disk full", "bulkhead backup run", text, "disk is full")
    small.empty()
    company.admin("user", "add", "bob")
    company.admin("image", "publish", big, "--name", "work", "--version", "2", "--key", company.key("images.key"))
    pc.command("backup", "run", "work")
    company.admin("audit", "verify")
    arrived(pc, 2)


def disk_of_the_pc_is_full(directory, keep):
    place = os.path.join(directory, "pc-1", "data")
    small = Small(place, 48)
    keep(small)
    company, pc = start(directory, keep)
    small.fill(1 << 20)
    company.publish("work", "2", os.urandom(16 << 20))
    said("PC's disk full", "bulkhead agent", trouble(pc, "No space left"), "work", "release 2")
    same_release = pc.guests()["work"]["release"]
    small.empty()
    arrived(pc, 2)
    if same_release != 1:
        raise Failure("a release that had not arrived was offered")


def quota_of_the_pc_is_full(directory, keep):
    company, pc = start(directory, keep)
    company.admin("policy", "set", "quota_gib", "1", "--key", company.key("policy.key"))
    wait_for("the quota", lambda: pc.status()["policy"]["quota_gib"]["value"] == 1)
    pc.start("work")
    pc.end("work")
    filler = os.path.join(pc.data, "guests/filler")
    with open(filler, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, (1 << 30) - (8 << 20))
    company.publish("work", "2", os.urandom(16 << 20))
    said("quota full", "bulkhead agent", trouble(pc, "quota"), "work: release 2 needs", "quota of 1024 MiB", "quota_gib")
    pc.start("work")  # what is here runs on
    pc.end("work")
    os.unlink(filler)
    arrived(pc, 2)


def server_is_away(directory, keep):
    company, pc = start(directory, keep)
    pc.start("work")
    pc.write("work", [(0, b"a day's work")])
    pc.end("work")
    company.kill_server()
    _, text = company.admin("device", "list", ok=False)
    said("server away", "bulkhead device list", text, "localhost", "see that the server runs")
    _, text = pc.command("backup", "run", "work", ok=False)
    said("server away", "bulkhead backup run", text, "see that the server runs")
    pc.start("work")  # offline, as long as the lease lasts
    pc.end("work")
    taken = Process("other", ["python3", "-m", "http.server", "--bind", "127.0.0.1", str(company.port)],
                    os.path.join(directory, "other.log"))
    keep(taken)
    wait_for("the other", company.answers)
    done = subprocess.run(company.server.command, capture_output=True, text=True, timeout=60, check=False)
    said("server's port taken", "bulkhead-server", done.stderr, "Address already in use", "--listen")
    taken.stop()
    company.restart_server()
    company.admin("device", "list")


def expired_authority():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Bulkhead CA")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(
        x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=2)).not_valid_after(
            now - datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption()) + made.public_bytes(serialization.Encoding.PEM)


def certificates_end(directory, keep):
    company, pc = start(directory, keep)
    company.kill_server()
    with sqlite3.connect(os.path.join(directory, "server", "server.db")) as database:
        database.execute("UPDATE devices SET certificate_expires=?", (int(time.time()) - 1,))
    database.close()
    company.restart_server()
    said("PC's certificate expired", "bulkhead agent", trouble(pc, "expired"), "install the PC anew")
    pc.start("work")  # what is here runs on until the lease ends
    pc.end("work")
    # An authority that has expired cannot be waited for: the server does not start and says what to do.
    company.kill_server()
    data = os.path.join(directory, "server")
    with open(f"{data}/ca.pem", "wb") as file:
        file.write(expired_authority())
    done = subprocess.run(company.server.command, capture_output=True, text=True, timeout=60, check=False)
    said("authority expired", "bulkhead-server", done.stderr, "ca.pem", "expired", "enrol every device again")
    with open(f"{data}/server.db", "r+b") as file:
        file.write(b"x" * 4096)
    os.unlink(f"{data}/ca.pem")
    for name in ("server.db-wal", "server.db-shm"):
        if os.path.exists(f"{data}/{name}"):
            os.unlink(f"{data}/{name}")
    done = subprocess.run(company.server.command, capture_output=True, text=True, timeout=60, check=False)
    said("database damaged", "bulkhead-server", done.stderr, "server.db", "restore it from a backup")


def slow_line_that_loses_packets_delivers(directory, keep):
    """In a network namespace of its own: 20 Mbit/s, one packet in a hundred lost."""
    for words in (["ip", "link", "set", "lo", "mtu", "1500"],
                  ["tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "20mbit", "burst", "256k", "latency",
                   "400ms"],
                  ["nft", "add", "table", "inet", "lossy"],
                  ["nft", "add chain inet lossy in { type filter hook input priority 0; }"],
                  ["nft", "add rule inet lossy in numgen random mod 100 == 0 counter drop"]):
        run(*words)
    company, pc = start(directory, keep)
    company.publish("work", "2", os.urandom(6 << 20))
    arrived(pc, 2)
    pc.start("work")
    pc.write("work", [(0, os.urandom(2 << 20))])
    pc.command("backup", "run", "work")
    company.admin("device", "list")
    dropped = int(re.search(r"counter packets (\d+)", run("nft", "list", "table", "inet", "lossy")).group(1))
    if not dropped:
        raise Failure("no packet was lost")
    ROWS.append(("20 Mbit/s and 1 % loss", "publish, delivery, backup",
                 f"all arrive; {dropped} packets were lost; nothing printed"))
    print("#", ROWS[-1])


def table():
    print("| fault | who speaks | what is printed |\n|---|---|---|")
    for fault, who, line in ROWS:
        print(f"| {fault} | {who} | {line.replace('|', chr(92) + '|')} |")


if __name__ == "__main__":
    if os.environ.get("BULKHEAD_OWN_NETWORK") != "1":
        # Root in a network and mounts of its own: nothing outside sees a slow line or a small disk.
        os.environ["BULKHEAD_OWN_NETWORK"] = "1"
        words = ["unshare", "--net", "--mount", "--propagation", "private"]
        if os.getuid():
            words += ["--map-root-user"]
        os.execvp("unshare", words + [sys.executable, *sys.argv])
    run("ip", "link", "set", "lo", "up")
    try:
        tell([disk_of_the_server_is_full, disk_of_the_pc_is_full, quota_of_the_pc_is_full, server_is_away, certificates_end,
              slow_line_that_loses_packets_delivers])
    finally:
        if "--table" in sys.argv:
            table()
