"""Enrolment, leases, lock, loss and wipe: bulkhead-agent and bulkhead-keyd against a real bulkhead-server."""
import datetime
import json
import os
import random
import shutil
import sqlite3
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from company import PC, Company, alices_pc, company_with_work, leased_pc, run, tell, wait_for


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
    status, text = first.command("enrol", "--name", "", stdin=token + "\n", ok=False)
    assert status == 1 and "say --name NAME" in text, text
    first.command("enrol", "--name", "pc-1", stdin=token + "\n")
    status, text = second.command("enrol", "--name", "pc-2", stdin=token + "\n", ok=False)
    assert status == 1 and "used up" in text, text
    # A lost answer costs nothing: the same PC with the same token goes on.
    status, text = first.command("enrol", stdin=token + "\n", ok=False)
    assert status == 1 and "enrolled already" in text, text
    status, text = second.command("enrol", stdin="bh1-nonsense\n", ok=False)
    assert status == 1 and "no enrolment token" in text, text


def certificate_is_renewed_before_it_ends(directory, keep):
    """The PC gets one that ends tomorrow, as if it had worn it for most of a year."""
    company = Company(directory)
    keep(company)
    pc = PC(directory, "pc-1", poll=3600)
    keep(pc)
    pc.enrol(company)
    pc.command("sync")
    before = certificate_of(pc)
    with open(f"{company.directory}/server/ca.pem", "rb") as file:
        authority = file.read()
    now = datetime.datetime.now(datetime.timezone.utc)
    old = x509.CertificateBuilder().subject_name(before.subject).issuer_name(before.issuer).public_key(before.public_key())
    old = old.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=300))
    old = old.not_valid_after(now + datetime.timedelta(days=1))
    for extension in before.extensions:
        if extension.oid != x509.ExtensionOID.AUTHORITY_KEY_IDENTIFIER:
            old = old.add_extension(extension.value, extension.critical)
    old = old.sign(serialization.load_pem_private_key(authority, None), before.signature_hash_algorithm)
    with open(f"{pc.data}/device.crt", "wb") as file:
        file.write(old.public_bytes(serialization.Encoding.PEM))
    company.kill_server()
    with sqlite3.connect(os.path.join(directory, "server", "server.db")) as database:
        database.execute("UPDATE devices SET certificate_hash=?, previous_hash=NULL, certificate_expires=?",
                         (old.fingerprint(hashes.SHA256()), int(now.timestamp()) + 86400))
    database.close()
    company.restart_server()
    pc.restart_agent()
    pc.command("sync")
    new = certificate_of(pc)
    assert new.serial_number not in (before.serial_number, old.serial_number) and new.not_valid_after - datetime.timedelta(
        days=300) > now.replace(tzinfo=None), new.not_valid_after
    assert new.public_key().public_numbers() == before.public_key().public_numbers()
    # It is used from then on, and not asked for again.
    pc.restart_agent()
    pc.command("sync")
    assert certificate_of(pc) == new


def certificate_of(pc):
    with open(f"{pc.data}/device.crt", "rb") as file:
        return x509.load_pem_x509_certificate(file.read())


def lost_pc_locks_at_its_next_poll(directory, keep):
    company, pc = leased_pc(directory, keep)
    began = time.monotonic()
    company.admin("device", "lost", "pc-1")
    wait_for("the lock", lambda: not pc.status()["vault"]["open"])
    print(f"# from lost to locked, online: {(time.monotonic() - began):.1f} poll intervals of 1 s")
    company.admin("device", "unlock", "pc-1")
    wait_for("the unlock", lambda: pc.status()["vault"]["open"])


def order_to_lock_waits_for_no_backup(directory, keep):
    """What takes the agent hours, on a slow line, does not keep it from hearing what the company says."""
    company = company_with_work(directory, keep)
    pc = alices_pc(directory, keep, company, tpm=True, extra={"bandwidth_bytes": 1 << 20})
    pc.start("work")
    pc.write("work", [(0, random.randbytes(24 << 20))])
    said = []
    backup = threading.Thread(target=lambda: said.append(pc.command("backup", "run", "work", ok=False)))
    backup.start()
    objects = os.path.join(company.directory, "server", "objects")
    wait_for("a part of the backup at the server", lambda: any(
        os.path.getsize(os.path.join(place, name)) >= 4 << 20 for place, _, names in os.walk(objects) for name in names))
    company.admin("device", "lock", "pc-1")
    backup.join()
    status, text = said[0]
    assert status == 1, text
    # The agent may have begun the backup by itself, before it was asked for one: then its log says why that ended.
    assert "which comes first" in text + pc.agent.output(), text
    wait_for("the lock", lambda: not pc.status()["vault"]["open"] and pc.guests()["work"]["state"] == "stopped")
    company.admin("device", "unlock", "pc-1")
    wait_for("the unlock", lambda: pc.status()["vault"]["open"])
    pc.command("backup", "run", "work")
    assert "work" in company.admin("backup", "list", "--json")


def wipe_needs_two_officers_and_leaves_the_tpms_receipt(directory, keep):
    company, pc = leased_pc(directory, keep)
    epoch = pc.status()["vault"]["epoch"]
    # The device is revoked first: it may still be commanded.
    company.admin("device", "revoke", "pc-1")
    wait_for("the lock", lambda: not pc.status()["vault"]["open"])
    company.admin("device", "wipe", "pc-1", "--key", company.key("officer-1.key"), "--key", company.key("officer-2.key"))
    wait_for("the wipe", lambda: pc.status()["vault"]["epoch"] > epoch)
    commands = wait_for("its receipt", lambda: [c for c in json.loads(company.admin("device", "commands", "pc-1", "--json"))
                                                if c["kind"] == "wipe" and c["state"] == "done"])
    assert commands[0]["receipt"], commands
    # The receipt is checked where the officers are trusted, not where it is kept.
    rows = json.loads(company.admin("device", "receipts", "pc-1", "--json"))
    assert rows[0]["proven"], rows


def lease_runs_out_offline_and_a_copy_of_the_disk_gains_nothing(directory, keep):
    company = company_with_work(directory, keep)
    company.admin("policy", "set", "lease_starts", "2", "--key", company.key("policy.key"))
    pc = alices_pc(directory, keep, company, tpm=True, poll=3600)
    assert pc.status()["vault"]["lease"]["starts_left"] == 2, pc.status()
    company.kill_server()

    def start_and_stop():
        status, text = pc.command("guest", "start", "work", ok=False)
        if status == 0:
            pc.command("guest", "stop", "work", "--now")
            wait_for("the end", lambda: pc.guests()["work"]["state"] == "stopped")
        return status, text

    def stop_programs():
        pc.agent.stop()
        pc.keyd.stop()

    def start_programs():
        pc.keyd.start()
        wait_for("the vault's socket", lambda: os.path.exists(pc.keyd_socket))
        pc.agent.start()
        wait_for("the agent's socket", lambda: os.path.exists(pc.socket))

    def put_back():
        stop_programs()
        shutil.rmtree(pc.directory)
        run("cp", "-a", "--sparse=always", copy, pc.directory)
        start_programs()
    # The thief copies the disk (not the TPM), uses the lease up, and puts the copy back.
    stop_programs()
    copy = pc.directory + ".copy"
    run("cp", "-a", "--sparse=always", pc.directory, copy)
    start_programs()
    assert [start_and_stop()[0] for _ in range(2)] == [0, 0]
    status, text = start_and_stop()
    assert status == 1 and "starts are used up" in text, text
    print(f"# offline: {text.strip()}")
    put_back()
    status, text = start_and_stop()
    assert status == 1 and "starts are used up" in text, text
    status, text = pc.command("sync", ok=False)
    assert status == 1 and "see that the server runs" in text, text
    # Back online the lease is renewed, and the guest starts; with the copy put back again and again, too.
    company.restart_server()
    for _ in range(3):
        pc.command("sync")
        assert pc.status()["vault"]["open"], pc.status()
        put_back()
    pc.command("sync")
    assert start_and_stop()[0] == 0, pc.status()


if __name__ == "__main__":
    tell([enrolled_pc_gets_a_lease_and_reports, token_works_once_and_for_its_server_only,
          certificate_is_renewed_before_it_ends, lost_pc_locks_at_its_next_poll, order_to_lock_waits_for_no_backup,
          lease_runs_out_offline_and_a_copy_of_the_disk_gains_nothing,
          wipe_needs_two_officers_and_leaves_the_tpms_receipt])
