"""A user's data: backup, a second PC, the lost PC that returns, a server that vanished; and a guest of one's own."""
import os
import re
import threading

from company import PC, Lossy, Recorder, alices_pc, company_with_work, run, tell, wait_for


def read_file(path, offset, size):
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(size)


def data_comes_back_on_a_second_pc_by_phrase_and_the_lost_pc_overwrites_nothing(directory, keep):
    company = company_with_work(directory, keep)
    pc = alices_pc(directory, keep, company, tpm=True)
    pc.start("work")
    pc.write("work", [(0, b"first"), (5 << 30, b"far")])
    pc.command("backup", "run", "work")
    assert pc.guests()["work"]["backup_label"] == "crash-consistent", pc.guests()
    pc.write("work", [(8192, b"second")])
    pc.end("work")
    pc.command("backup", "run", "work")
    assert pc.guests()["work"]["backup_label"] == "frozen", pc.guests()
    # Of the second backup only what the change map named was read: one block.
    assert '"read_bytes":4096,' in pc.agent.output(), pc.agent.output()
    phrase = re.search(r"^  ((?:[a-z]{5} ){8}[a-z]{5})$", pc.command("key", "phrase", "work"), re.M).group(1)

    second = alices_pc(directory, keep, company, name="pc-2", tpm=True)
    status, text = second.command("backup", "restore", "work", ok=False)
    assert status == 1 and "recovery phrase" in text, text
    wrong = " ".join(phrase.split()[::-1])
    status, text = second.command("backup", "restore", "work", "--phrase", stdin=wrong + "\n", ok=False)
    assert status == 1, text
    second.command("backup", "restore", "work", "--phrase", stdin=phrase + "\n")
    second.start("work")
    for offset, data in ((0, b"first"), (5 << 30, b"far"), (8192, b"second")):
        assert second.read("work", offset, len(data)) == data

    # The first PC returns: what it backs up is kept aside.
    pc.start("work")
    pc.write("work", [(0, b"stale")])
    pc.command("backup", "run", "work")
    second.write("work", [(16384, b"third")])
    second.command("backup", "run", "work")
    restored = os.path.join(directory, "restored")
    second.command("backup", "restore", "work", "--into", restored)
    assert read_file(restored, 0, 5) == b"first" and read_file(restored, 16384, 5) == b"third"
    # A copy goes where whoever asks may write, which may be where the agent may not.
    assert second.command("backup", "restore", "work", "--into", restored, ok=False)[0] == 1, "a file that was there was taken"
    listing = company.admin("backup", "list", "alice.work", "--json")
    assert '"side"' in listing, listing


FAKE_GUEST = """
import contextlib, json, os, signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
def serve(client, calls):
    for line in client.makefile("rb"):
        mark, line = line[:1] == b"\\xff", line.lstrip(b"\\xff")
        if mark:  # as qemu-guest-agent does, which understands no such byte
            client.sendall(b'{"error": {"class": "GenericError", "desc": "Invalid JSON syntax"}}\\n\\xff')
        call = json.loads(line)
        calls.write(call["execute"] + "\\n")
        answer = {"return": call.get("arguments", {}).get("id", 1)}
        if os.path.exists(sys.argv[1] + ".refuse") and "freeze" in call["execute"]:
            answer = {"error": {"class": "GenericError", "desc": "no"}}
        client.sendall(json.dumps(answer).encode() + b"\\n")

while True:
    with listener.accept()[0] as client, open(sys.argv[1] + ".calls", "a", buffering=1) as calls:
        with contextlib.suppress(ConnectionError):  # after a refusal nobody waits for what thawing says
            serve(client, calls)
"""


def guest_agent_freezes_the_guest_for_the_moment_of_a_backup(directory, keep):
    company = company_with_work(directory, keep)
    pc = alices_pc(directory, keep, company, extra={"monitor": ["python3", "-c", FAKE_GUEST, "%{agent}"]})
    pc.start("work")
    helper = os.path.join(pc.run_directory, "agent.guests", "work", "guest-agent")
    wait_for("the guest's agent", lambda: os.path.exists(helper))
    pc.write("work", [(0, b"quiet")])
    pc.command("backup", "run", "work")
    assert pc.guests()["work"]["backup_label"] == "frozen", pc.guests()
    # Each backup, this one and the first that policy asks for by itself, freezes and thaws in this order.
    with open(helper + ".calls") as file:
        calls = file.read().split()
    one = ["guest-sync-delimited", "guest-fsfreeze-freeze", "guest-fsfreeze-thaw"]
    assert calls and calls == one * (len(calls) // 3), calls
    # A guest that refuses to stand still is backed up all the same, and the backup says what it is.
    open(helper + ".refuse", "w").close()
    pc.command("backup", "run", "work")
    assert pc.guests()["work"]["backup_label"] == "crash-consistent", pc.guests()


def file_system(directory, bulk):
    """An ext4 file system as a guest would make it on its user disk: a letter, a link to it, and much else."""
    tree, image = os.path.join(directory, "tree"), os.path.join(directory, "home.img")
    os.makedirs(os.path.join(tree, "alice", "letters"))
    for name, content in (("alice/letters/one.txt", b"Dear Bob,\n" * 1000), ("alice/bulk", bulk)):
        with open(os.path.join(tree, name), "wb") as file:
            file.write(content)
    os.symlink("letters/one.txt", os.path.join(tree, "alice", "latest"))
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    run("/sbin/mke2fs", "-q", "-t", "ext4", "-d", tree, image)
    with open(image, "rb") as file:
        return file.read()


def one_file_comes_out_of_a_backup_without_the_rest(directory, keep):
    company = company_with_work(directory, keep)
    pc = alices_pc(directory, keep, company, tpm=True)
    image = file_system(directory, os.urandom(24 << 20))
    pc.start("work")
    pc.write("work", [(at, image[at:at + (1 << 20)]) for at in range(0, len(image), 1 << 20)
                      if any(image[at:at + (1 << 20)])])
    pc.command("backup", "run", "work")
    phrase = re.search(r"^  ((?:[a-z]{5} ){8}[a-z]{5})$", pc.command("key", "phrase", "work"), re.M).group(1)

    second = alices_pc(directory, keep, company, name="pc-2", tpm=True)
    out = os.path.join(directory, "letter")
    second.command("backup", "restore", "work", "--file", "/alice/latest", "--into", out, "--phrase",
                   stdin=phrase + "\n")
    with open(out, "rb") as file:
        assert file.read() == b"Dear Bob,\n" * 1000
    store = os.path.join(second.data, "guests", "work", "backup")
    moved = sum(os.stat(os.path.join(place, name)).st_blocks * 512 for place, _, names in os.walk(store)
                for name in names if name.endswith((".pack", ".part")))
    print(f"# {moved:,} bytes of packs are here for one letter out of {len(image):,}")
    assert moved < 4 << 20, moved
    for path, reason in (("/alice/nothing", "no such file"), ("/alice", "no file with content"), ("/..//etc", "no such file")):
        status, text = second.command("backup", "restore", "work", "--file", path, "--into", out + "2", ok=False)
        assert status == 1 and reason in text and not os.path.exists(out + "2"), text

    # A file system that was made to harm whoever reads it harms nobody: it is refused, and the agent goes on.
    hostile = bytearray(image)
    for at in range(1024 + 256, 40 << 12):
        hostile[at] ^= 0x5a if at % 7 == 0 else 0
    pc.write("work", [(0, bytes(hostile[:1 << 20]))])
    pc.command("backup", "run", "work")
    status, text = pc.command("backup", "restore", "work", "--file", "/alice/latest", "--into", out + "3", ok=False)
    assert status == 1 and not os.path.exists(out + "3"), text
    print(f"# {text.strip().splitlines()[-1]}")
    assert pc.guests()["work"]["state"] == "running"


def server_killed_in_the_middle_costs_nothing(directory, keep):
    company = company_with_work(directory, keep)
    pc = alices_pc(directory, keep, company, tpm=True)
    content = os.urandom(24 << 20)
    pc.start("work")
    pc.write("work", [(0, content)])
    threading.Timer(0.3, company.kill_server).start()
    status, text = pc.command("backup", "run", "work", ok=False)
    print(f"# the server was killed in the middle; the command said: {text.strip() or 'nothing, it was done before'}")
    company.restart_server()
    pc.command("backup", "run", "work")
    restored = os.path.join(directory, "restored")
    pc.command("backup", "restore", "work", "--into", restored)
    assert read_file(restored, 0, 24 << 20) == content


def transfers_survive_a_line_that_breaks_again_and_again(directory, keep):
    company = company_with_work(directory, keep)
    pc = alices_pc(directory, keep, company, tpm=True)
    # The server notices a lost connection after half a minute only; whoever goes on before that is let in.
    line = Lossy(company.port, 700000)
    keep(line)
    pc.go_through(line.port)
    pc.start("work")
    pc.write("work", [(0, os.urandom(8 << 20))])
    pc.end("work")

    def backed_up():
        return pc.command("backup", "run", "work", ok=False)[0] == 0
    wait_for("the backup", backed_up)
    company.publish("work", "2", os.urandom(6 << 20))
    wait_for("version 2 through the broken line", lambda: pc.guests()["work"]["release"] == 2)
    assert line.cuts > 4, line.cuts
    print(f"# the line broke {line.cuts} times")


def version_two_arrives_and_one_step_goes_back_and_forth(directory, keep):
    company = company_with_work(directory, keep)
    pc = alices_pc(directory, keep, company, tpm=True)
    image = os.path.join(pc.data, "images", "work")
    pc.start("work")
    assert pc.read("work", 1 << 20, 10, "system") == b"system one"
    company.publish("work", "2", b"system two")
    steps = len(pc.agent.output().splitlines())
    wait_for("version 2", lambda: os.path.exists(os.path.join(image, "2", "complete")))
    assert pc.guests()["work"]["release"] == 1, "a running guest keeps its version"
    pc.command("guest", "stop", "work")
    wait_for("the switch", lambda: pc.guests()["work"]["release"] == 2)
    pc.start("work")
    assert pc.read("work", 1 << 20, 10, "system") == b"system two"
    pc.end("work")
    pc.command("guest", "revert", "work")
    pc.command("guest", "start", "work")
    assert pc.guests()["work"]["release"] == 1
    pc.command("sync")
    pc.command("guest", "stop", "work")
    wait_for("the end", lambda: pc.guests()["work"]["state"] == "stopped")
    assert pc.guests()["work"]["release"] == 1, "what was given up is not taken again by itself"
    company.admin("device", "update", "pc-1", "work")
    wait_for("version 2 again", lambda: pc.guests()["work"]["release"] == 2)
    # A restart in between loses nothing.
    pc.restart_agent()
    assert pc.guests()["work"]["release"] == 2
    print(f"# {len(pc.agent.output().splitlines()) - steps} log lines from publish to here")


def company_sees_no_difference_with_a_personal_guest(directory, keep):
    company = company_with_work(directory, keep)
    pc = alices_pc(directory, keep, company, tpm=True)
    recorder = Recorder(company, pc)
    keep(recorder)
    pc.go_through(recorder.port)

    def window():
        """What a time of quiet looks like from the company's side: every request and every byte of it."""
        first = len(recorder.since(0))
        wait_for("requests", lambda: sum("report" in r[0] for r in recorder.since(first)) >= 4)
        return {request for request in recorder.since(first)}
    wait_for("requests", lambda: sum("report" in r[0] for r in recorder.since(0)) >= 3)
    before = window()
    own = PC(directory, "own", personal=True)
    keep(own)
    raw = os.path.join(directory, "old-pc.raw")
    with open(raw, "wb") as file:
        file.truncate(64 << 20)
        file.seek(1 << 20)
        file.write(os.urandom(4 << 20))
    own.command("guest", "create", "personal", "--disk", raw)
    own.command("guest", "start", "personal")
    wait_for("the guest", lambda: own.guests()["personal"]["state"] == "running")
    after = window()
    assert before == after, before ^ after
    assert any("report" in request[0] for request in after)
    print(f"# {len(before)} different requests, {sum(len(r[1]) for r in before)} bytes of bodies without a personal guest; "
          "the very same with one")
    # The company's agent neither exports nor knows it.
    status, text = pc.command("guest", "export", "personal", os.path.join(directory, "x"), ok=False)
    assert status == 1 and "personal" not in pc.guests(), text


def own_guest_moves_to_another_pc_in_one_encrypted_file(directory, keep):
    first, second = PC(directory, "first", personal=True), PC(directory, "second", personal=True)
    keep(first)
    keep(second)
    raw, portable = os.path.join(directory, "disk.raw"), os.path.join(directory, "guest.bulkhead")
    content = os.urandom(2 << 20)
    with open(raw, "wb") as file:
        file.truncate(32 << 20)
        file.seek(3 << 20)
        file.write(content)
    first.command("guest", "create", "personal", "--disk", raw)
    first.command("guest", "start", "personal")
    status, text = first.command("guest", "export", "personal", portable, ok=False)
    assert status == 1 and "stop it first" in text and not os.path.exists(portable), text
    first.command("guest", "stop", "personal")
    wait_for("the end", lambda: first.guests()["personal"]["state"] == "stopped")
    phrase = re.search(r"^  ((?:[a-z]{5} ){8}[a-z]{5})$", first.command("guest", "export", "personal", portable), re.M)
    status, text = second.command("guest", "import", "personal", portable, stdin="babab " * 9 + "\n", ok=False)
    assert status == 1 and not second.guests(), text
    second.command("guest", "import", "personal", portable, stdin=phrase.group(1) + "\n")
    for again in (("create", "personal", "--disk", raw), ("import", "personal", portable)):
        status, text = second.command("guest", *again, stdin=phrase.group(1) + "\n", ok=False)
        assert status == 1 and "there is such a guest already" in text, text
    second.start("personal")  # whoever was refused took nothing away
    assert second.read("personal", 3 << 20, len(content), "system") == content


def own_guest_is_backed_up_to_a_disk_of_its_owner(directory, keep):
    first, second = PC(directory, "first", personal=True), PC(directory, "second", personal=True)
    keep(first)
    keep(second)
    raw, disk = os.path.join(directory, "disk.raw"), os.path.join(directory, "my-disk")
    marker = b"MARKER-" + os.urandom(16).hex().encode()
    with open(raw, "wb") as file:
        file.truncate(32 << 20)
        file.seek(3 << 20)
        file.write(marker + os.urandom(4 << 20))
    os.mkdir(disk)
    with open(raw + ".qcow2", "wb") as file:
        file.write(b"QFI\xfb" + bytes(1 << 20))
    status, text = first.command("guest", "create", "personal", "--disk", raw + ".qcow2", ok=False)
    assert status == 1 and "qemu-img convert" in text and not first.guests(), text
    status, text = first.command("guest", "create", "My PC", "--disk", raw, ok=False)
    assert status == 1 and "small letters" in text and not first.guests(), text
    first.command("guest", "create", "personal", "--disk", raw)
    text = first.command("guest", "backup", "personal", disk)
    phrase = re.search(r"^  ((?:[a-z]{5} ){8}[a-z]{5})$", text, re.M).group(1)

    def size():
        return sum(os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(disk) for name in names)
    before = size()
    # While it runs, after a day's work: only what is new is written, and no new words are made.
    first.start("personal")
    first.write("personal", [(5 << 20, b"a letter" * 512)])
    text = first.command("guest", "backup", "personal", disk)
    assert "words" not in text and "backed up (" in text, text
    print(f"# {size() - before:,} bytes more for one letter, after {before:,}")
    assert size() - before < 600000
    for place, _, names in os.walk(disk):
        for name in names:
            with open(os.path.join(place, name), "rb") as file:
                assert marker not in file.read(), name
    # Elsewhere, with the words only.
    status, text = second.command("guest", "bring-back", "personal", disk, stdin="babab " * 9 + "\n", ok=False)
    assert status == 1 and not second.guests(), text
    second.command("guest", "bring-back", "personal", disk, stdin=phrase + "\n")
    second.start("personal")
    assert second.read("personal", 3 << 20, len(marker), "system") == marker
    assert second.read("personal", 5 << 20, 4096) == b"a letter" * 512
    # It goes on backing up from there; a guest made anew under the name does not overwrite it.
    second.write("personal", [(6 << 20, b"an answer" * 500)])
    second.command("guest", "backup", "personal", disk)
    first.end("personal")
    first.command("guest", "remove", "personal", "--yes")
    first.command("guest", "create", "personal", "--disk", raw)
    status, text = first.command("guest", "backup", "personal", disk, ok=False)
    assert status == 1 and "another guest" in text, text
    first.command("guest", "remove", "personal", "--yes")
    first.command("guest", "bring-back", "personal", disk, stdin=phrase + "\n")
    first.start("personal")
    assert first.read("personal", 6 << 20, 4500) == b"an answer" * 500


def full_disk_is_said_and_nothing_is_lost(directory, keep):
    first = PC(directory, "first", personal=True)
    keep(first)
    raw, small = os.path.join(directory, "disk.raw"), os.path.join(directory, "small")
    with open(raw, "wb") as file:
        file.write(os.urandom(8 << 20))
    first.command("guest", "create", "personal", "--disk", raw)
    os.mkdir(small)
    run("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small)
    try:
        status, text = first.command("guest", "export", "personal", os.path.join(small, "out"), ok=False)
        assert status == 1 and "No space left" in text and "free space and ask again" in text, text
        assert os.listdir(small) == [], os.listdir(small)
        print(f"# disk full: {text.strip()}")
    finally:
        run("umount", small)
    assert first.guests()["personal"]["state"] == "stopped"


if __name__ == "__main__":
    tell([version_two_arrives_and_one_step_goes_back_and_forth,
          data_comes_back_on_a_second_pc_by_phrase_and_the_lost_pc_overwrites_nothing,
          guest_agent_freezes_the_guest_for_the_moment_of_a_backup, one_file_comes_out_of_a_backup_without_the_rest,
          server_killed_in_the_middle_costs_nothing, transfers_survive_a_line_that_breaks_again_and_again,
          company_sees_no_difference_with_a_personal_guest,
          own_guest_moves_to_another_pc_in_one_encrypted_file, own_guest_is_backed_up_to_a_disk_of_its_owner, full_disk_is_said_and_nothing_is_lost])
