"""Enrolment, leases, lock, loss and wipe: bulkhead-agent and bulkhead-keyd against a real bulkhead-server."""
import json
import time

from company import PC, Company, tell, wait_for


def enrolled_pc_gets_a_lease_and_reports(directory, keep):
    company = Company(directory)
    keep(company)
    pc = PC(directory, "pc-1", tpm=True)
    keep(pc)
    company.admin("user", "add", "alice")
    pc.enrol(company, "alice")
    wait_for("a lease", lambda: pc.status()["vault"]["open"])
    report = wait_for("a report", lambda: company.device("pc-1").get("report"))
    assert report["enforcement"] == "tpm", report
    assert report["lease"]["serial"] >= 1, report


def token_works_once_and_for_its_server_only(directory, keep):
    company = Company(directory)
    keep(company)
    first, second = PC(directory, "pc-1"), PC(directory, "pc-2")
    keep(first)
    keep(second)
    token = company.token()
    first.command("enrol", stdin=token + "\n")
    status, text = second.command("enrol", stdin=token + "\n", ok=False)
    assert status == 1 and "used up" in text, text
    # A lost answer costs nothing: the same PC with the same token goes on.
    status, text = first.command("enrol", stdin=token + "\n", ok=False)
    assert status == 1 and "enrolled already" in text, text
    status, text = second.command("enrol", stdin="bh1-nonsense\n", ok=False)
    assert status == 1 and "no enrolment token" in text, text


def lost_pc_locks_at_its_next_poll_and_offline_when_the_lease_ends(directory, keep):
    company = Company(directory)
    keep(company)
    pc = PC(directory, "pc-1", tpm=True)
    keep(pc)
    pc.enrol(company)
    wait_for("a lease", lambda: pc.status()["vault"]["open"])
    began = time.monotonic()
    company.admin("device", "lost", "pc-1")
    wait_for("the lock", lambda: not pc.status()["vault"]["open"])
    print(f"# from lost to locked, online: {(time.monotonic() - began):.1f} poll intervals of 1 s")
    company.admin("device", "unlock", "pc-1")
    wait_for("the unlock", lambda: pc.status()["vault"]["open"])
    # Offline: nothing renews, and the lease's numbers are what ends it, not anybody's word.
    company.server.stop()
    lease = pc.status()["vault"]["lease"]
    assert lease["powered_seconds_left"] > 0 and lease["starts_left"] > 0, lease


def wipe_needs_two_officers_and_leaves_the_tpms_receipt(directory, keep):
    company = Company(directory)
    keep(company)
    pc = PC(directory, "pc-1", tpm=True)
    keep(pc)
    pc.enrol(company)
    wait_for("a lease", lambda: pc.status()["vault"]["open"])
    epoch = pc.status()["vault"]["epoch"]
    # The device is revoked first: it may still be commanded.
    company.admin("device", "revoke", "pc-1")
    wait_for("the lock", lambda: not pc.status()["vault"]["open"])
    company.admin("device", "wipe", "pc-1", "--key", company.key("officer-1.key"), "--key", company.key("officer-2.key"))
    wait_for("the wipe", lambda: pc.status()["vault"]["epoch"] > epoch)
    commands = wait_for("its receipt", lambda: [c for c in json.loads(company.admin("device", "commands", "pc-1", "--json"))
                                                if c["kind"] == "wipe" and c["state"] == "done"])
    assert commands[0]["receipt"], commands


if __name__ == "__main__":
    tell([enrolled_pc_gets_a_lease_and_reports, token_works_once_and_for_its_server_only,
          lost_pc_locks_at_its_next_poll_and_offline_when_the_lease_ends,
          wipe_needs_two_officers_and_leaves_the_tpms_receipt])
