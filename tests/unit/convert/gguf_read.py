"""A small reader of GGUF files for tests: keys as Python values, tensors as (type, shape, bytes). Standard library only."""
import mmap
import struct

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
# id: name, elements in a block, bytes of a block
TYPES = {0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24),
         8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176),
         14: ("Q6_K", 256, 210), 20: ("IQ4_NL", 32, 18), 23: ("IQ4_XS", 256, 136), 30: ("BF16", 1, 2), 39: ("MXFP4", 32, 17)}


class Gguf:
    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        self.at = 0
        magic, version, n_tensor, n_key = self.take("<4sIQQ")
        assert magic == b"GGUF" and version in (2, 3), path
        self.keys = {}
        for _ in range(n_key):
            key = self.string().decode()
            assert key not in self.keys, key
            self.keys[key] = self.value(self.take("<I")[0])
        infos = []
        for _ in range(n_tensor):
            name = self.string().decode()
            dims = self.take("<%dQ" % self.take("<I")[0])
            infos.append((name, dims, *self.take("<IQ")))
        align = self.keys.get("general.alignment", 32)
        base = -(-self.at // align) * align
        self.tensors, self.order, end = {}, [], 0
        for name, dims, kind, offset in infos:
            type_name, elems, size = TYPES[kind]
            n = size
            for i, d in enumerate(dims):
                n *= d // elems if i == 0 else d
            # Back to back, each padded: what llama.cpp demands.
            assert offset == end, (path, name, offset, end)
            end = offset + -(-n // align) * align
            self.tensors[name] = (type_name, tuple(reversed(dims)), self.data[base + offset:base + offset + n])
            self.order.append(name)
        assert len(self.data) == base + end, (path, len(self.data), base + end)

    def take(self, form):
        out = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return out

    def string(self):
        n = self.take("<Q")[0]
        self.at += n
        return self.data[self.at - n:self.at]

    def value(self, kind):
        if kind == 8:
            return self.string().decode()
        if kind == 9:
            elem, n = self.take("<IQ")
            if elem == 8:
                return [self.string() for _ in range(n)]
            return list(self.take("<%d%s" % (n, SCALARS[elem])))
        return self.take("<" + SCALARS[kind])[0]
