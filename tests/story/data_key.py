"""The key of the PC's data partition against a real (emulated) TPM: it comes out for the system that was started and for
no other, an update is sealed to before it is started, and copies for systems that are gone are forgotten."""
import hashlib
import os
import subprocess

from company import Process, run, tell, wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA_KEY = os.path.join(ROOT, "image/root/usr/lib/bulkhead/data-key")
KEY = bytes(range(32))


class Partition:
    """A LUKS2 header in a file, and a TPM that was started once."""

    def __init__(self, directory):
        self.directory, self.path = directory, os.path.join(directory, "partition")
        self.state = os.path.join(directory, "tpm")
        os.makedirs(self.state)
        run("swtpm_setup", "--tpm2", "--tpmstate", self.state)
        with open(self.path, "wb") as file:
            file.truncate(20 << 20)
        with open(os.path.join(directory, "key"), "wb") as file:
            file.write(KEY)
        run("cryptsetup", "luksFormat", "-q", "--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000",
            "--key-slot", "0", self.path, os.path.join(directory, "key"))
        self.process = None
        self.power_on()

    def power_on(self):
        """PCRs begin at zero; keys that were sealed stay."""
        if self.process:
            self.process.stop()
        path = os.path.join(self.directory, "socket")
        for name in (path, path + ".ctrl"):
            if os.path.exists(name):
                os.unlink(name)
        self.environment = {"TPM2TOOLS_TCTI": f"swtpm:path={path}"}
        self.process = Process("swtpm", ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.state}", "--server",
                                         f"type=unixio,path={path}", "--ctrl", f"type=unixio,path={path}.ctrl",
                                         "--flags", "not-need-init,startup-clear"], self.directory + ".tpm.log")
        wait_for("the TPM's socket", lambda: os.path.exists(path))

    def start(self, boot):
        """What firmware does: measures the boot file. Returns PCR 4."""
        digest = hashlib.sha256(boot).hexdigest()
        run("tpm2_pcrextend", f"4:sha256={digest}", env=self.environment)
        return value_of(boot)

    def data_key(self, *words, given=b""):
        done = subprocess.run([DATA_KEY, *words], input=given, capture_output=True, check=False,
                              env=dict(os.environ, **self.environment))
        return done.returncode, done.stdout, done.stderr.decode()

    def seal(self, boot):
        status, _, error = self.data_key("seal", self.path, value_of(boot), given=KEY)
        assert status == 0, error

    def stop(self):
        self.process.stop()


def value_of(boot):
    return hashlib.sha256(bytes(32) + hashlib.sha256(boot).digest()).hexdigest()


def key_comes_out_for_the_system_that_was_started_and_for_no_other(directory, keep):
    partition = Partition(directory)
    keep(partition)
    partition.seal(b"release 1")
    for boot, opens in ((b"release 1", True), (b"a stick with another system", False)):
        partition.power_on()
        partition.start(boot)
        status, key, _ = partition.data_key("unseal", partition.path)
        assert (status == 0 and key == KEY) if opens else (status == 1 and not key), (boot, status, key)


def what_starts_next_is_sealed_to_before_and_what_is_gone_is_forgotten(directory, keep):
    partition = Partition(directory)
    keep(partition)
    partition.seal(b"release 1")
    partition.seal(b"release 2")
    for boot in (b"release 1", b"release 2"):
        partition.power_on()
        partition.start(boot)
        assert partition.data_key("unseal", partition.path)[:2] == (0, KEY), boot
    status, _, error = partition.data_key("keep", partition.path, value_of(b"release 2"))
    assert status == 0, error
    partition.power_on()
    partition.start(b"release 1")
    assert partition.data_key("unseal", partition.path)[0] == 1
    partition.power_on()
    partition.start(b"release 2")
    assert partition.data_key("unseal", partition.path)[:2] == (0, KEY)


def changed_secure_boot_state_closes_it(directory, keep):
    partition = Partition(directory)
    keep(partition)
    partition.seal(b"release 1")
    partition.start(b"release 1")
    run("tpm2_pcrextend", "7:sha256=" + "11" * 32, env=partition.environment)
    assert partition.data_key("unseal", partition.path)[0] == 1


def nonsense_is_refused_and_changes_nothing(directory, keep):
    partition = Partition(directory)
    keep(partition)
    for value in ("", "12", "g" * 64, "'; reboot'"):
        status, _, error = partition.data_key("seal", partition.path, value, given=KEY)
        assert status == 1 and "64 hex digits" in error, (value, error)
    assert "bulkhead-tpm" not in run("cryptsetup", "luksDump", partition.path)


if __name__ == "__main__":
    tell([key_comes_out_for_the_system_that_was_started_and_for_no_other,
          what_starts_next_is_sealed_to_before_and_what_is_gone_is_forgotten, changed_secure_boot_state_closes_it,
          nonsense_is_refused_and_changes_nothing])
