"""Secure Boot with keys of our own: makes them, signs with them, and enrols them in OVMF's variable store.

The store is written the way firmware would (UEFI 2.10, 32.4; EDK2, VariableFormat.h), so a PC starts with the platform
key in place and Secure Boot on: nothing needs to be enrolled by hand or by a program of its own.
"""
import os
import struct
import subprocess
import uuid

import pc  # noqa: F401  puts image/ on the path
import signing

GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
IMAGE_SECURITY = uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
X509 = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
OWNER = uuid.UUID("6b1c5a5e-2f0b-4e0c-9d0e-3a5a52f0d3b7")
AUTHENTICATED_STORE = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792").bytes_le
ATTRIBUTES = 0x27  # non-volatile, boot and run time, time-based authentication
ADDED, FIRST_KIND = 0x3F, 0x55AA
STORE_HEADER = 28


def make(folder, name):
    """A key and its self-signed certificate; returns their paths and the certificate's DER bytes."""
    key, certificate = (os.path.join(folder, f"{name}.{kind}") for kind in ("key", "crt"))
    subprocess.run(["openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", "3650",
                    "-subj", f"/CN=Bulkhead test {name}/", "-keyout", key, "-out", certificate], check=True,
                   stderr=subprocess.DEVNULL)
    der = subprocess.run(["openssl", "x509", "-in", certificate, "-outform", "DER"], check=True,
                         capture_output=True).stdout
    return key, certificate, der


def sign(key, source, target):
    """Signs a PE file; `key` is what make() returned."""
    return signing.Signer(*key[:2]).program(source, target)


def sign_module(key, source, target, kernel_folder):
    """Signs a kernel module for the kernel in `kernel_folder`, which trusts firmware's db under Secure Boot."""
    return signing.Signer(*key[:2]).module(source, target, kernel_folder)


def _variable(name, vendor, data):
    """One authenticated variable, as it lies in flash."""
    text = name.encode("utf-16-le") + b"\0\0"
    entry = struct.pack("<HBBIQ16sIII16s", FIRST_KIND, ADDED, 0, ATTRIBUTES, 0, bytes(16), 0, len(text), len(data),
                        vendor.bytes_le) + text + data
    return entry + b"\xff" * (-len(entry) % 4)


def _signature_list(der):
    return X509.bytes_le + struct.pack("<III", 28 + 16 + len(der), 0, 16 + len(der)) + OWNER.bytes_le + der


def enrol(store, path, der):
    """Writes to `path` the empty variable store `store` with one certificate as platform key, exchange key and db."""
    with open(store, "rb") as file:
        image = bytearray(file.read())
    start = image.index(AUTHENTICATED_STORE)
    if image[start + STORE_HEADER] != 0xFF:
        raise ValueError(f"{store} holds variables already")
    data = _signature_list(der)
    variables = b"".join(_variable(name, vendor, data) for name, vendor in
                         (("PK", GLOBAL), ("KEK", GLOBAL), ("db", IMAGE_SECURITY)))
    image[start + STORE_HEADER:start + STORE_HEADER + len(variables)] = variables
    with open(path, "wb") as file:
        file.write(image)
    return path
