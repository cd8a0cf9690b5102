"""GGUF files written and read by the words of the format alone (v3, little-endian), without any library."""
import math
import struct

# Type id: elements and bytes of a block.
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84), 11: (256, 110),
          12: (256, 144), 13: (256, 176), 14: (256, 210), 20: (32, 18), 23: (256, 136), 30: (1, 2)}
SIZES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def text(s):
    s = s.encode() if isinstance(s, str) else s
    return struct.pack("<Q", len(s)) + s


def value(v):
    if isinstance(v, bool):
        return struct.pack("<I?", 7, v)
    if isinstance(v, int):
        return struct.pack("<II", 4, v)
    if isinstance(v, float):
        return struct.pack("<If", 6, v)
    if isinstance(v, list):
        return struct.pack("<IIQ", 9, 8, len(v)) + b"".join(map(text, v))
    return struct.pack("<I", 8) + text(v)


def write(path, keys, arrays):
    """keys: {name: bool, int (u32), float (f32), str or list of str}; arrays: {name: float32 or float16 array of numpy's}, or
    (shape, bytes of an item, bytes) where there is no numpy."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(arrays), len(keys))
    for k, v in keys.items():
        head += text(k) + value(v)
    data = bytearray()
    for name, a in arrays.items():
        shape, size, raw = a if isinstance(a, tuple) else (a.shape, a.itemsize, a.tobytes())
        head += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape[::-1])
        head += struct.pack("<IQ", 1 if size == 2 else 0, len(data))
        data += raw
        data += bytes(-len(data) % 32)
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % 32) + data)


class Reader:
    def __init__(self, data):
        self.data, self.pos = data, 0

    def take(self, n):
        self.pos += n
        return self.data[self.pos - n:self.pos]

    def number(self, letter):
        return struct.unpack("<" + letter, self.take(struct.calcsize("<" + letter)))[0]

    def value(self, kind):
        if kind == 8:
            return self.take(self.number("Q"))
        if kind == 9:
            elem, n = self.number("I"), self.number("Q")
            return [self.value(elem) for _ in range(n)]
        return self.number(SIZES[kind])


def read(path):
    """Keys {name: value} and tensors {name: (type id, bytes)}, both in the order of the file."""
    with open(path, "rb") as f:
        r = Reader(f.read())
    assert r.take(8) == b"GGUF\3\0\0\0"
    n_tensor, n_key = r.number("Q"), r.number("Q")
    keys = {}
    for _ in range(n_key):
        name = r.value(8).decode()
        keys[name] = r.value(r.number("I"))
    infos = []
    for _ in range(n_tensor):
        name = r.value(8).decode()
        shape = [r.number("Q") for _ in range(r.number("I"))]
        infos.append((name, shape, r.number("I"), r.number("Q")))
    begin = -(-r.pos // 32) * 32
    tensors = {}
    for name, shape, kind, offset in infos:
        elems, size = BLOCKS[kind]
        n = math.prod(shape) // elems * size
        tensors[name] = (kind, r.data[begin + offset:begin + offset + n])
    return keys, tensors
