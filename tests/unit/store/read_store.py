#!/usr/bin/env python3
"""A second reader of the store's format, written from docs/store-format.md alone.

read_store.py STORE KEY-HEX LABEL OUT   writes the version with that label to OUT as a raw disk, having checked
                                        every name, tag and the tree root"""
import base64
import hashlib
import hmac
import json
import os
import struct
import subprocess
import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

BLOCK = 4096


def decompress(data, length):
    """One zstd frame, by the zstd tool."""
    done = subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, check=True).stdout
    assert len(done) == length, "a frame has another length than it says"
    return done


class Pack:
    """One pack of a version: its table, checked, and its frames on demand."""

    def __init__(self, store, key, listed):
        self.salt, table_name, table_at, self.count, self.used = listed
        self.file = open(os.path.join(store, "packs", self.salt.hex() + ".pack"), "rb")
        self.cipher = AESGCM(hmac.digest(key, b"bulkhead pack key\0" + self.salt, "sha256"))
        header = self.file.read(64)
        assert header[:8] == b"BHPACK1\0" and header[32:48] == self.salt
        assert header[48:] == hashlib.sha256(header[:48]).digest()[:16]
        self.file.seek(table_at)
        table = self.file.read(40 + 44 * self.count)
        assert hashlib.sha256(table).digest() == table_name, "a table is not what the manifest names"
        assert self.file.read() == b"BHPKEND1" + struct.pack("<II", self.count, len(table))
        self.entries = [struct.unpack_from("<32sIIHBB", table, 40 + 44 * i) for i in range(self.count)]
        self.cache = {}

    def frame(self, number):
        if number in self.cache:
            return self.cache[number]
        assert self.used[number // 8] >> number % 8 & 1, "the map refers to a frame that is not listed"
        name, offset, stored, blocks, kind, _ = self.entries[number]
        self.file.seek(offset)
        data = self.file.read(stored)
        assert hashlib.sha256(data).digest() == name, f"frame {number} of {self.salt.hex()} is damaged"
        magic, is_kind, coding, _, is_number, plain, length, _, salt = struct.unpack_from("<4sBBHIIII16s", data)
        assert (magic, is_kind, is_number, length, salt) == (b"BHF1", kind, number, stored, self.salt)
        text = self.cipher.decrypt(struct.pack("<IQ", number, 0), data[40:], data[:40])
        text = decompress(text, plain) if coding else text
        assert kind != 1 or len(text) == blocks * BLOCK
        if len(self.cache) > 64:
            self.cache.clear()
        self.cache[number] = text
        return text


class Numbers:
    """Varints and bytes of a map page."""

    def __init__(self, page):
        self.page, self.at = page, 0

    def take(self, count):
        self.at += count
        assert self.at <= len(self.page)
        return self.page[self.at - count:self.at]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def head(self, kind):
        assert self.take(1)[0] == kind
        return [self.take(16) for _ in range(self.varint())]


def read_manifest(store, label):
    """The newest version with a label: fields and packs."""
    found = None
    for name in os.listdir(os.path.join(store, "versions")):
        with open(os.path.join(store, "versions", name), encoding="utf-8") as file:
            payload = base64.b64decode(json.load(file)["payload"])
        assert hashlib.sha256(payload).hexdigest() + ".json" == name
        fields = struct.unpack_from("<8sII16sQQ32s16sII32sQQIII", payload)
        assert fields[0] == b"BHMANIF1" and fields[1] == 1
        if payload[216:216 + fields[13]].decode() == label and (not found or fields[5] >= found[0][5]):
            found = fields, payload
    assert found, f"no version {label}"
    fields, payload = found
    at, packs = 216 + fields[13] + fields[14], []
    for _ in range(fields[15]):
        salt, name, offset, count = struct.unpack_from("<16s32sII", payload, at)
        at += 56 + (count + 7) // 8
        packs.append((salt, name, offset, count, payload[at - (count + 7) // 8:at]))
    assert at == len(payload)
    return fields, packs


def leaf_places(packs, address, count):
    """For each block of a leaf None (zero) or (pack, frame number, slot)."""
    page = Numbers(packs[address[0]].frame(address[1]))
    salts, places, last = page.head(1), [], None
    while len(places) < count:
        head = page.varint()
        length, how = head >> 2, head & 3
        if how == 0:
            places += [None] * length
            continue
        if how == 1:
            last = (last[0], last[1] + 1, 0)
        else:
            last = (salts[page.varint()], page.varint(), page.varint())
        places += [(last[0], last[1], last[2] + (0 if how == 3 else i)) for i in range(length)]
    assert len(places) == count and page.at == len(page.page)
    return places


def leaves(packs, address, level, first, total):
    """Yields the address of every leaf (None: zeros) below a page, which describes leaves from first on."""
    below = 128 ** (level - 1)
    if level == 1 or address is None:
        for _ in range(1 if level == 1 else min(below, total - first)):
            yield address
        return
    page = Numbers(packs[address[0]].frame(address[1]))
    salts = page.head(2)
    for child in range(min(128, -(-(total - first) // (below // 128 or 1)))):
        index = page.varint()
        start = first + child * (below // 128)
        if index == 0:
            for _ in range(min(below // 128, total - start)):
                yield None
        else:
            yield from leaves(packs, (salts[index - 1], page.varint()), level - 1, start, total)


def tree_root(hashes):
    while True:
        hashes = [hashlib.sha256(b"".join(hashes[i:i + 128]).ljust(4096, b"\0")).digest()
                  for i in range(0, len(hashes), 128)]
        if len(hashes) == 1:
            return hashes[0]


def main():
    store, key, label, out = sys.argv[1], bytes.fromhex(sys.argv[2]), sys.argv[3], sys.argv[4]
    fields, listed = read_manifest(store, label)
    flags, domain, disk = fields[2], fields[3], fields[4]
    assert hmac.digest(key, b"bulkhead domain id\0", "sha256")[:16] == domain, "another domain's key"
    packs = {entry[0]: Pack(store, key, entry) for entry in listed}
    blocks = -(-disk // BLOCK)
    total, hashes, zero = -(-blocks // 4096), [], bytes(BLOCK)
    zero_hash, data_blocks, block = hashlib.sha256(zero).digest(), 0, 0
    with open(out, "wb") as file:
        for address in leaves(packs, (fields[7], fields[8]), fields[9], 0, total):
            count = min(4096, blocks - block)
            places = [None] * count if address is None else leaf_places(packs, address, count)
            for place in places:
                if place is None:
                    hashes.append(zero_hash)
                else:
                    data = packs[place[0]].frame(place[1])[place[2] * BLOCK:(place[2] + 1) * BLOCK]
                    assert len(data) == BLOCK
                    file.seek(block * BLOCK)
                    file.write(data)
                    hashes.append(hashlib.sha256(data).digest())
                    data_blocks += 1
                block += 1
        file.truncate(disk)
    assert block == blocks and data_blocks == fields[11]
    assert not flags & 1 or tree_root(hashes) == fields[10], "the tree root is another"
    return 0


if __name__ == "__main__":
    sys.exit(main())
