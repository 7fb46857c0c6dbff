"""Signatures that Secure Boot asks for: on every file that firmware starts, on the kernel inside, and on our kernel module,
because Linux that firmware verified takes modules only from those whose certificate the kernel or firmware holds.
"""
import dataclasses
import glob
import os
import subprocess


@dataclasses.dataclass
class Signer:
    """A key and its certificate, both PEM files. The PCs' firmware must hold the certificate in its db."""
    key: str
    certificate: str

    def program(self, source, target):
        """Signs a PE file; the two may be the same file. Returns `target`."""
        subprocess.run(["sbsign", "--key", self.key, "--cert", self.certificate, "--output", target, source], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return target

    def module(self, source, target, kernel):
        """Signs a kernel module for the kernel whose headers lie in the folder `kernel`. Returns `target`."""
        tool = glob.glob(os.path.join(kernel, "usr/lib/linux-kbuild-*/scripts/sign-file"))[0]
        subprocess.run([tool, "sha256", self.key, self.certificate, source, target], check=True)
        return target
