"""JA4 of the ClientHello that standard input holds as hexadecimal records, by FoxIO's description."""

import hashlib
import struct
import sys

VERSIONS = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2"}
GREASE = {0x0A0A + 0x1010 * n for n in range(16)}


class Cursor:
    def __init__(self, data):
        self.data = data

    def take(self, count):
        taken, self.data = self.data[:count], self.data[count:]
        assert len(taken) == count
        return taken

    def counted(self, size):
        return self.take(int.from_bytes(self.take(size), "big"))


def numbers(data):
    return [n for (n,) in struct.iter_unpack(">H", data) if n not in GREASE]


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else "0" * 12


def listed(values):
    return ",".join(f"{value:04x}" for value in values)


wire = Cursor(bytes.fromhex(sys.stdin.read()))
message = b""
while len(message) < 4 or len(message) < 4 + int.from_bytes(message[1:4], "big"):
    assert wire.take(1) == b"\x16"
    wire.take(2)
    message += wire.counted(2)
hello = Cursor(message[4:])
version = int.from_bytes(hello.take(2), "big")
hello.take(32)
hello.counted(1)
suites = numbers(hello.counted(2))
hello.counted(1)
blocks = Cursor(hello.counted(2))
extensions = {}
while blocks.data:
    (kind,) = struct.unpack(">H", blocks.take(2))
    extensions[kind] = blocks.counted(2)
kinds = [kind for kind in extensions if kind not in GREASE]
if 43 in extensions:
    version = max(numbers(Cursor(extensions[43]).counted(1)))
alpn = "00"
if 16 in extensions:
    first = Cursor(Cursor(extensions[16]).counted(2)).counted(1)
    ends = bytes([first[0], first[-1]])
    is_text = all(chr(byte).isascii() and chr(byte).isalnum() for byte in ends)
    alpn = ends.decode() if is_text else first.hex()[0] + first.hex()[-1]
algorithms = numbers(Cursor(extensions.get(13, b"\0\0")).counted(2))
rest = listed(sorted(kind for kind in kinds if kind not in (0, 16)))
if rest and algorithms:
    rest += "_" + listed(algorithms)
head = f"t{VERSIONS.get(version, '00')}{'d' if 0 in extensions else 'i'}"
head += f"{min(len(suites), 99):02}{min(len(kinds), 99):02}{alpn}"
print(f"{head}_{digest(listed(sorted(suites)))}_{digest(rest)}")
