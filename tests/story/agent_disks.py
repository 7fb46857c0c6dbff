"""A guest's disks on a PC: served while they arrive, kept or dropped by policy, never in plain on the PC's disk."""
import json
import os
import threading
import time

from company import PC, Proxy, alices_pc, company_with_work, tell, wait_for

SIZE = 48 << 20


class Counter(Proxy):
    """Passes everything through and counts what comes from the server; can hold the line."""

    def __init__(self, port):
        self.upstream, self.received, self.open = port, 0, threading.Event()
        self.open.set()
        super().__init__()

    def carry(self, client):
        import select
        import socket
        with socket.create_connection(("127.0.0.1", self.upstream)) as server:
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is server:
                        self.open.wait()
                        self.received += len(data)
                    (server if source is client else client).sendall(data)


def pc_with_guest_that_arrives(directory, keep, company):
    """A PC on a line so slow that all of the image takes half an hour: what its guest reads must not wait for the rest."""
    pc = alices_pc(directory, keep, company, tpm=True, extra={"bandwidth_bytes": 400000})
    pc.start("work")
    return pc


def is_complete(pc, release=1):
    return os.path.exists(os.path.join(pc.data, "images", "work", str(release), "complete"))


def guest_runs_while_its_release_still_arrives(directory, keep):
    content = os.urandom(SIZE - (2 << 20))
    company = company_with_work(directory, keep, content, SIZE)
    pc = pc_with_guest_that_arrives(directory, keep, company)
    disk = pc.disk("work", "system")
    far = len(content) - 8192
    assert disk.read((1 << 20) + far, 4096) == content[far:far + 4096]
    assert disk.read(1 << 20, 4096) == content[:4096]
    assert not is_complete(pc), "the release had arrived before the guest read from it: nothing was shown"
    arriving = pc.guests()["work"]
    assert arriving["arriving_bytes"] < arriving["total_bytes"], arriving
    # What the guest writes lies above the version, also where the version's block has not arrived.
    disk.write((20 << 20) + 512, b"written")
    assert disk.read((20 << 20) + 512, 7) == b"written"
    assert disk.read(20 << 20, 512) == content[(19 << 20):(19 << 20) + 512]
    disk.close()
    # A restart of the agent goes on where it stopped; offline, with all that has come, the guest starts.
    pc.end("work")
    pc.restart_agent()
    pc.start("work")
    assert pc.read("work", (20 << 20) + 512, 7, "system") == b"written"
    assert not is_complete(pc)


def new_version_is_taken_though_the_one_before_never_arrived_whole(directory, keep):
    content = bytearray(os.urandom(SIZE - (2 << 20)))
    company = company_with_work(directory, keep, bytes(content), SIZE)
    pc = pc_with_guest_that_arrives(directory, keep, company)
    before, content[0:4096] = bytes(content[0:4096]), os.urandom(4096)
    company.publish("work", "2", bytes(content), SIZE)
    wait_for("release 2 to be ready", lambda: os.path.exists(os.path.join(pc.data, "images", "work", "2", "ready")))
    assert not is_complete(pc) and not is_complete(pc, 2)
    # The running guest goes on with its own; both come, each by its socket.
    far = len(content) - 8192
    assert pc.read("work", 1 << 20, 4096, "system") == before
    assert pc.read("work", (1 << 20) + far, 4096, "system") == content[far:far + 4096]
    pc.end("work")
    wait_for("the switch", lambda: pc.guests()["work"]["release"] == 2)
    pc.start("work")
    assert pc.read("work", 1 << 20, 4096, "system") == content[:4096]
    assert pc.read("work", (1 << 20) + far, 4096, "system") == content[far:far + 4096]
    pc.command("guest", "remove-version", "work", "--release", "1")
    near = 20 << 20
    assert pc.read("work", (1 << 20) + near, 4096, "system") == content[near:near + 4096]


def line_that_is_down_makes_a_guest_wait_and_not_fail(directory, keep):
    content = os.urandom(SIZE - (2 << 20))
    company = company_with_work(directory, keep, content, SIZE)
    pc = pc_with_guest_that_arrives(directory, keep, company)
    company.kill_server()
    answers = []
    reader = threading.Thread(target=lambda: answers.append(pc.read("work", SIZE - (2 << 20), 4096, "system")))
    reader.start()
    wait_for("the agent to say what it waits for", lambda: "waits_for" in pc.guests()["work"])
    assert not answers
    company.restart_server()
    reader.join(120)
    at = SIZE - (3 << 20)
    assert answers == [content[at:at + 4096]]


def whole_release_is_fetched_once_however_it_is_asked_for(directory, keep):
    content = os.urandom(SIZE - (2 << 20))
    company = company_with_work(directory, keep, content, SIZE)
    pc = PC(directory, "pc-1", tpm=True)
    keep(pc)
    line = Counter(company.port)
    keep(line)
    pc.enrol(company, "alice")
    pc.go_through(line.port)
    wait_for("a release that can start", lambda: pc.guests().get("work", {}).get("release") == 1)
    pc.start("work")
    for at in range(SIZE - (2 << 20), 1 << 20, -(3 << 20)):
        assert pc.read("work", at, 4096, "system") == content[at - (1 << 20):at - (1 << 20) + 4096]
    wait_for("all of it", lambda: is_complete(pc))
    wait_for("its expansion", lambda: expanded(pc) >= len(content))
    print(f"# {line.received / len(content):.3f} of the image's size moved, requests and reports included")
    assert line.received < 1.05 * len(content) + (1 << 20), (line.received, len(content))
    # Everything is here: no line is needed any more.
    company.kill_server()
    pc.end("work")
    pc.start("work")
    assert pc.read("work", 1 << 20, len(content), "system") == content


def layers(pc):
    return [name for name in os.listdir(os.path.join(pc.data, "guests", "work")) if name.startswith(("arrived-", "overlay-"))]


def expanded(pc):
    """Bytes of arrived blocks on the PC."""
    total = 0
    for place, _, names in os.walk(os.path.join(pc.data, "guests", "work")):
        if "arrived-" in place and "data" in names:
            total += os.stat(os.path.join(place, "data")).st_blocks * 512
    return total


def version_is_fetched_in_the_order_in_which_a_test_pc_booted_it(directory, keep):
    content = os.urandom(SIZE - (2 << 20))
    company = company_with_work(directory, keep, content, SIZE)
    company.admin("image", "stage", "work", "1", "test")
    tester = PC(directory, "tester", tpm=True)
    keep(tester)
    tester.enrol(company, "alice")
    company.admin("device", "set", "tester", "--ring", "test")
    wait_for("the version in test", lambda: tester.guests().get("work", {}).get("release") == 1)
    boot = [40 << 20, 30 << 20, 44 << 20, 5 << 20]  # what this guest's boot reads, in its order
    tester.start("work")
    for at in boot:
        assert tester.read("work", at, 4096, "system") == content[at - (1 << 20):at - (1 << 20) + 4096]
    tester.end("work")
    wait_for("its boot trace", lambda: os.path.exists(os.path.join(tester.data, "images", "work", "1", "trace")))
    with open(os.path.join(tester.data, "images", "work", "1", "trace")) as file:
        print("# trace:", file.read().split("\n"))
    company.admin("image", "stage", "work", "1", "deployed")

    # Another PC has a slow line. When the line is cut after a while, the boot is here and the rest is not.
    pc = PC(directory, "pc-2", tpm=True, extra={"bandwidth_bytes": 1500000})
    keep(pc)
    pc.enrol(company, "alice")
    wait_for("what the boot needs", lambda: pc.guests().get("work", {}).get("arriving_bytes", 0) > 3 << 20)
    company.kill_server()
    assert not is_complete(pc)
    pc.start("work")
    for at in boot:
        assert pc.read("work", at, 4096, "system") == content[at - (1 << 20):at - (1 << 20) + 4096]
    # The control: what no boot reads has not come, and a read of it waits.
    disk = pc.disk("work", "system")
    disk.socket.settimeout(3)
    try:
        disk.read(36 << 20, 4096)
        raise AssertionError("a block outside the trace was here already: nothing was shown")
    except TimeoutError:
        disk.close()


def overlay_is_kept_or_dropped_as_policy_says(directory, keep):
    company = company_with_work(directory, keep, b"system one", SIZE)
    pc = alices_pc(directory, keep, company, tpm=True)

    def write_and_start_again():
        pc.start("work")
        disk = pc.disk("work", "system")
        disk.write(1 << 20, b"changed!!!")
        disk.flush()
        disk.close()
        pc.end("work")
        pc.start("work")
        seen = pc.read("work", 1 << 20, 10, "system")
        pc.end("work")
        return seen
    assert write_and_start_again() == b"changed!!!"
    # A new version begins with an empty overlay; the old one is as it was left when the guest goes back.
    company.publish("work", "2", b"system two", SIZE, "qcow2")
    wait_for("version 2", lambda: pc.guests()["work"]["release"] == 2)
    pc.start("work")
    assert pc.read("work", 1 << 20, 10, "system") == b"system two"
    pc.end("work")
    pc.command("guest", "revert", "work")
    pc.start("work")
    assert pc.read("work", 1 << 20, 10, "system") == b"changed!!!"
    pc.end("work")
    status, text = pc.command("guest", "remove-version", "work", "--release", "1", ok=False)
    assert status == 1 and "in use" in text, text
    company.admin("policy", "set", "persistence", "discard", "--key", company.key("policy.key"))
    wait_for("the policy", lambda: write_and_start_again() == b"system one")
    # Back to version 2; the old one is offered until it is removed, and takes no space then.
    company.admin("device", "update", "pc-1", "work")
    wait_for("version 2 again", lambda: pc.guests()["work"]["release"] == 2)
    assert pc.guests()["work"]["previous"] == 1
    before = layers(pc)
    pc.command("guest", "remove-version", "work")
    assert pc.guests()["work"]["previous"] == 0 and not os.path.exists(os.path.join(pc.data, "images", "work", "1"))
    assert len(layers(pc)) < len(before), (before, layers(pc))
    status, text = pc.command("guest", "revert", "work", ok=False)
    assert status == 1, text
    pc.start("work")
    assert pc.read("work", 1 << 20, 10, "system") == b"system two"


def user_takes_an_appliance_where_policy_allows_it(directory, keep):
    company = company_with_work(directory, keep, b"system one", SIZE)
    company.admin("group", "add", "engineering")
    company.publish("cad", "1", b"the appliance", SIZE)
    company.admin("image", "offer", "cad", "--group", "engineering")
    pc = alices_pc(directory, keep, company, tpm=True)

    def offered():
        return json.loads(pc.command("guest", "catalogue", "--json"))
    assert offered() == [], "it is offered to a group that alice is not in"
    company.admin("group", "join", "engineering", "alice")
    assert [(row["image"], row["taken"]) for row in offered()] == [("cad", False)]
    status, text = pc.command("guest", "take", "cad", ok=False)
    assert status == 1 and "policy" in text, text
    company.admin("policy", "set", "own_images", "true", "--key", company.key("policy.key"))
    wait_for("the policy", lambda: pc.command("guest", "take", "cad", ok=False)[0] == 0)
    wait_for("the appliance", lambda: pc.guests().get("cad", {}).get("release") == 1)
    pc.start("cad")
    assert pc.read("cad", 1 << 20, 13, "system") == b"the appliance"
    pc.end("cad")
    status, text = pc.command("guest", "take", "work", ok=False)
    assert status == 1 and "offered" in text, text
    pc.command("guest", "give-back", "cad")
    wait_for("its going", lambda: pc.guests()["cad"]["state"] == "unassigned")
    status, text = pc.command("guest", "start", "cad", ok=False)
    assert status == 1, text


def policy_starts_a_guest_and_gives_it_space_and_network(directory, keep):
    """autostart, quota_gib and network, each with what happens where they are not set."""
    company = company_with_work(directory, keep, b"system one", SIZE)
    pc = PC(directory, "pc-1", extra={
        "networks": {"company": "only-the-company"},
        "monitor": ["sh", "-c", "trap 'exit 0' TERM; echo \"$1\" > %{directory}/network; while :; do sleep 0.1; done",
                    "%{name}", "network=%{network}"]})
    keep(pc)

    def policy(field, value):
        company.admin("policy", "set", field, value, "--key", company.key("policy.key"))
        wait_for(field, lambda: str(pc.status()["policy"][field]["value"]).lower() == value)

    def network():
        """What the monitor of the start just made was told; it says so in its own time."""
        path = os.path.join(pc.run_directory, "agent.guests/work/network")

        def told():
            with open(path) as file:
                return file.read().strip()
        text = wait_for("the monitor's word", lambda: os.path.exists(path) and told())
        os.unlink(path)
        return text
    pc.enrol(company, "alice")
    wait_for("the guest's arrival", lambda: pc.guests().get("work", {}).get("release") == 1)
    assert pc.guests()["work"]["state"] == "stopped", "nothing asked for a start"
    policy("autostart", "true")
    wait_for("the start", lambda: pc.guests()["work"]["state"] == "running")
    assert network() == "network=open"
    # What its user ends stays ended; the PC's next start is another matter.
    pc.end("work")
    before = pc.status()["last_contact"]
    wait_for("two rounds more", lambda: pc.status()["last_contact"] > before + 1)
    assert pc.guests()["work"]["state"] == "stopped"
    policy("network", "company")
    pc.restart_agent()
    wait_for("the start", lambda: pc.guests()["work"]["state"] == "running")
    assert network() == "network=only-the-company"
    # What can wait arrives in the hours that policy names.
    later = time.localtime(time.time() + 7200)
    policy("transfer_window", f"{later.tm_hour:02}:00-{(later.tm_hour + 1) % 24:02}:00")
    company.publish("work", "2", b"system two", SIZE)
    wait_for("the wait", lambda: "hours of transfers" in pc.guests()["work"].get("waits_for", ""))
    assert not is_complete(pc, 2)
    company.admin("policy", "set", "transfer_window", "--key", company.key("policy.key"))
    wait_for("release 2", lambda: is_complete(pc, 2))
    # A release that does not fit is not fetched, and one line says why.
    policy("quota_gib", "1")
    pc.write("work", [(0, os.urandom(1 << 20))])
    with open(os.path.join(pc.data, "guests/work/filler"), "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 1 << 30)
    company.publish("work", "3", b"system three", SIZE)
    wait_for("the refusal", lambda: "quota of 1024 MiB" in pc.status()["trouble"])
    print("#", pc.status()["trouble"])
    assert not os.path.exists(os.path.join(pc.data, "images/work/3/ready"))
    os.unlink(os.path.join(pc.data, "guests/work/filler"))
    wait_for("release 3", lambda: is_complete(pc, 3))
    text = pc.command("agent")
    assert "quota_gib" in text and "agent" in text, text


def plain_text_of_a_guest_is_nowhere_on_the_pc(directory, keep):
    marker = b"MARKER-" + os.urandom(16).hex().encode()
    company = company_with_work(directory, keep, b"system one", SIZE)
    pc = alices_pc(directory, keep, company, tpm=True)
    pc.start("work")
    pc.write("work", [(12 << 20, marker), (9 << 30, marker)])
    disk = pc.disk("work", "system")
    disk.write(8 << 20, marker)
    disk.flush()
    disk.close()
    pc.command("backup", "run", "work")
    pc.end("work")
    assert found(pc, marker) == [], "before the wipe it is ciphertext already"
    # The control: the search finds it where it does lie in plain.
    control = os.path.join(pc.data, "plain")
    pc.command("backup", "restore", "work", "--into", control)
    assert found(pc, marker) == [control]
    os.unlink(control)
    epoch = pc.status()["vault"]["epoch"]
    company.admin("device", "wipe", "pc-1", "--key", company.key("officer-1.key"), "--key", company.key("officer-2.key"))
    wait_for("the wipe", lambda: pc.status()["vault"]["epoch"] > epoch)
    # No key comes out any more, and what lies on the disk stays what it was: noise.
    status, text = pc.command("guest", "start", "work", ok=False)
    assert status == 1, text
    print(f"# after the wipe: {text.strip()}")
    assert found(pc, marker) == []


def found(pc, marker):
    """Files of a PC that hold the marker: everything that it keeps, its vault and its logs too."""
    hits = []
    for place, _, names in os.walk(pc.directory):
        for name in names:
            path = os.path.join(place, name)
            if os.path.isfile(path) and holds(path, marker):
                hits.append(path)
    return hits


def holds(path, marker):
    """Looks through a file's data, holes left out."""
    with open(path, "rb") as file:
        at, end, before = 0, os.fstat(file.fileno()).st_size, b""
        while at < end:
            try:
                data = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return False
            if data > at:
                before = b""
            piece = os.pread(file.fileno(), 4 << 20, data)
            if not piece or marker in before + piece:
                return bool(piece)
            before, at = piece[-len(marker):], data + len(piece)
    return False


if __name__ == "__main__":
    tell([guest_runs_while_its_release_still_arrives, new_version_is_taken_though_the_one_before_never_arrived_whole,
          line_that_is_down_makes_a_guest_wait_and_not_fail,
          whole_release_is_fetched_once_however_it_is_asked_for,
          version_is_fetched_in_the_order_in_which_a_test_pc_booted_it, overlay_is_kept_or_dropped_as_policy_says,
          user_takes_an_appliance_where_policy_allows_it,
          policy_starts_a_guest_and_gives_it_space_and_network, plain_text_of_a_guest_is_nowhere_on_the_pc])
