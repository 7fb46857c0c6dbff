"""A guest's disk, seen as the guest sees it: a small client of the NBD protocol (fixed newstyle, simple replies)."""
import socket
import struct

NBDMAGIC, IHAVEOPT, REPLY_MAGIC = 0x4e42444d41474943, 0x49484156454f5054, 0x67446698
READ, WRITE, DISC, FLUSH = 0, 1, 2, 3


class Nbd:
    """A connection to a server on a Unix socket."""

    def __init__(self, path, patience=60):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(patience)
        self.socket.connect(path)
        magic, option_magic, flags = struct.unpack(">QQH", self.take(18))
        assert (magic, option_magic) == (NBDMAGIC, IHAVEOPT)
        self.socket.sendall(struct.pack(">I", flags & 3))  # fixed newstyle, no zeroes
        self.socket.sendall(struct.pack(">QII", IHAVEOPT, 1, 0))  # NBD_OPT_EXPORT_NAME: the default export
        self.size, _ = struct.unpack(">QH", self.take(10))
        if not flags & 2:
            self.take(124)

    def take(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise OSError("the disk's server closed the connection")
            data += more
        return data

    def request(self, kind, offset=0, size=0, data=b""):
        self.socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, kind, 1, offset, size) + data)
        magic, error, _ = struct.unpack(">IIQ", self.take(16))
        assert magic == REPLY_MAGIC
        if error:
            raise OSError(error, "the disk answers with an error")
        return self.take(size) if kind == READ else b""

    def read(self, offset, size):
        """Any bytes, by whole sectors."""
        first = offset // 512 * 512
        data = b""
        while len(data) < offset - first + size:
            now = min(1 << 20, -(-(offset - first + size - len(data)) // 512) * 512)
            data += self.request(READ, first + len(data), now)
        return data[offset - first:offset - first + size]

    def write(self, offset, data):
        """Any bytes, by whole sectors; what lies around them stays."""
        first, end = offset // 512 * 512, -(-(offset + len(data)) // 512) * 512
        whole = bytearray(self.read(first, end - first)) if (first, end) != (offset, offset + len(data)) else bytearray(data)
        whole[offset - first:offset - first + len(data)] = data
        for at in range(0, len(whole), 1 << 20):
            piece = bytes(whole[at:at + (1 << 20)])
            self.request(WRITE, first + at, len(piece), piece)

    def flush(self):
        self.request(FLUSH)

    def close(self):
        try:
            self.socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, DISC, 1, 0, 0))
        except OSError:
            pass
        self.socket.close()
