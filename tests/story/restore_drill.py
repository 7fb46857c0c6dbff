"""The server's database is lost: what docs/agent.md and docs/server.md say about it, carried out."""
import json
import os
import re
import shutil
import time

from company import PC, alices_pc, company_with_work, run, tell, wait_for


def copy_of_server(company, to):
    """As docs/server.md says, while the server runs."""
    data = os.path.join(company.directory, "server")
    os.makedirs(to)
    run("sqlite3", os.path.join(data, "server.db"), f".backup {to}/server.db")
    for name in ("ca.pem", "server.pem", "server.key"):
        shutil.copy(os.path.join(data, name), to)


def lose_database(company):
    company.kill_server()
    data = os.path.join(company.directory, "server")
    for name in os.listdir(data):
        if name.startswith("server.db"):
            os.unlink(os.path.join(data, name))


def database_comes_back_from_an_older_copy_and_nothing_of_the_pcs_is_lost(directory, keep):
    company = company_with_work(directory, keep)
    pc = alices_pc(directory, keep, company, tpm=True)
    pc.start("work")
    pc.write("work", [(0, b"first")])
    pc.command("backup", "run", "work")
    phrase = re.search(r"^  ((?:[a-z]{5} ){8}[a-z]{5})$", pc.command("key", "phrase", "work"), re.M).group(1)
    copy = os.path.join(directory, "copy")
    copy_of_server(company, copy)

    # What the copy does not know.
    pc.write("work", [(0, b"later")])
    pc.command("backup", "run", "work")
    company.publish("work", "2", b"system two")
    wait_for("version 2", lambda: os.path.exists(os.path.join(pc.data, "images", "work", "2", "complete")))

    # An older copy alone is refused by the PC, as it must be: it looks like a server that goes back.
    lose_database(company)
    shutil.copy(os.path.join(copy, "server.db"), os.path.join(directory, "server"))
    company.restart_server()
    wait_for("the PC to refuse the older state", lambda: "older" in pc.status()["trouble"] and pc.status()["trouble"])
    print("# before the drill's steps the PC says:", pc.status()["trouble"])

    began = time.monotonic()
    company.kill_server()
    company.server.command.append("--restored")
    company.restart_server()
    company.server.command.remove("--restored")
    print("#", company.admin("server", "put-back").strip().replace("\n", "\n# "))
    company.admin("image", "stage", "work", "2", "deployed")
    wait_for("the PC to follow again", lambda: not pc.status()["trouble"] and pc.guests()["work"]["wanted"] == 2)
    pc.command("backup", "run", "work")
    print(f"# from the restored copy to a PC in step and a new backup: {time.monotonic() - began:.0f} s")

    # The backup continues the main branch, although the copy did not know of the one before.
    listing = json.loads(company.admin("backup", "list", "alice.work", "--json"))
    assert listing[-1]["branch"] == "main" and '"side"' not in json.dumps(listing), listing
    pc.end("work")
    second = PC(directory, "pc-2", tpm=True)
    keep(second)
    second.enrol(company, "alice")
    wait_for("the guest's arrival", lambda: second.guests().get("work", {}).get("release") == 2)
    second.command("backup", "restore", "work", "--phrase", stdin=phrase + "\n")
    second.start("work")
    assert second.read("work", 0, 5) == b"later"
    assert second.read("work", 1 << 20, 10, "system") == b"system two"


if __name__ == "__main__":
    tell([database_comes_back_from_an_older_copy_and_nothing_of_the_pcs_is_lost])
