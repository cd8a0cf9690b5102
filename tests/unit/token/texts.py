"""Texts that tell tokenizers apart, from a seed, and a way to put them through ours."""
import random
import subprocess
import sys
import unicodedata

# A few blocks of each kind of script: cased, caseless, with marks, right to left, ideographs, symbols, emoji.
BLOCKS = [
    (0x20, 0x7E), (0x20, 0x7E), (0xA0, 0xFF), (0x100, 0x17F), (0x1C4, 0x1CC), (0x250, 0x2AF), (0x2B0, 0x2FF),
    (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF), (0x530, 0x58F), (0x590, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F),
    (0x980, 0x9FF), (0xB80, 0xBFF), (0xE00, 0xE7F), (0xF00, 0xFFF), (0x1000, 0x109F), (0x10A0, 0x10FF),
    (0x1100, 0x11FF), (0x1200, 0x137F), (0x13A0, 0x13FF), (0x1780, 0x17FF), (0x1800, 0x18AF), (0x1C80, 0x1C8F),
    (0x1D00, 0x1D7F), (0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x209F), (0x20A0, 0x20CF),
    (0x2100, 0x214F), (0x2150, 0x218F), (0x2190, 0x21FF), (0x2200, 0x22FF), (0x2460, 0x24FF), (0x2500, 0x257F),
    (0x2C00, 0x2C5F), (0x3000, 0x303F), (0x3040, 0x309F), (0x30A0, 0x30FF), (0x4E00, 0x9FFF), (0x4E00, 0x4FFF),
    (0xA720, 0xA7FF), (0xAC00, 0xD7A3), (0xE000, 0xE0FF), (0xFB00, 0xFB4F), (0xFE00, 0xFE0F), (0xFF00, 0xFFEF),
    (0x10400, 0x1044F), (0x10D40, 0x10D8F), (0x11380, 0x113E2), (0x16D40, 0x16D79), (0x1CCF0, 0x1CCF9),
    (0x1D400, 0x1D7FF), (0x1F1E6, 0x1F1FF), (0x1F300, 0x1F64F), (0x1F900, 0x1F9FF), (0x20000, 0x2A6DF),
    (0x2EBF0, 0x2EE5D), (0xE0100, 0xE01EF), (0x0, 0x1F), (0x7F, 0x9F), (0x10FF00, 0x10FFFF),
]
SPACES = [" ", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r", "\x0b", "\x0c", "\x85", "\xa0", "\u1680", "\u2003",
          "\u2028", "\u202f", "\u3000", " \n", "\n ", " \t ", "        "]
WORDS = ["Hello", "world", "don't", "DON'T", "we'Ll", "I've", "it's", "they're", "'s", "'S", "'t", "'", "''", "'re",
         "HelloWorldXMLParser", "iPhone", "eBay", "McDonald", "ABC", "ab1C", "12", "123", "1234567", "3.14159", "1e-9",
         "0x1F", "２０２６", "²³", "½", "Ⅷ", "foo/bar", "//", "/\n", "http://a.b/c?d=e&f#g", "a_b", "$100", "€5", "50%",
         "C++", "x=y", "<=>", "->", "...", "…", "“quoted”", "«a»", "naïve", "Ångström", "ŒUVRE", "straße", "ǅ", "ﬁ",
         "e\u0301", "n\u0303a", "\u0301", "日本語", "テキスト", "日A", "漢字かな交じり", "한국어", "العربية", "עברית",
         "हिन्दी", "ไทย", "ქართული", "Ελληνικά", "Привет", "ПРИВЕТ", "🦙", "👩‍👩‍👧‍👦", "🇫🇷", "👍🏽", "❤️", "\u200b",
         "\ufeff", "\ufffd", "", "def f(x):\n    return x\n", "#include <stdio.h>\r\n", "{\"a\": [1, 2]}", "`code`", "~", "|",
         "^", "<", ">", "+", "=", "[", "]", "\\", "\"", "!!!", "?!", "a" * 40, "AAAA", "aaaa", "-" * 20, "=" * 64]
LOOKALIKES = ["<s>", "</s>", "<unk>", "[INST]", "[/INST]", "[TOOL_CALLS]", "<|im_start|>", "<|im_end|>", "<|endoftext|>",
              "<0x0A>", "<0xFF>", "[control_8]", "<SPECIAL_20>", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "<pad>", "[IMG]",
              "[REFERENCE_DOC_1]", "[REFERENCE_DOC_12]", "[REF]", "[/REF]", "<s", "s>", "[INST", "<|im_", "<reponame>",
              "<|begin_of_text|>", "<|eot_id|>", "<jupyter_start>"]


def assigned(cp):
    return not 0xD800 <= cp <= 0xDFFF


def piece(rng):
    kind = rng.random()
    if kind < 0.30:
        return rng.choice(WORDS)
    if kind < 0.50:
        return rng.choice(SPACES)
    if kind < 0.57:
        return rng.choice(LOOKALIKES)
    if kind < 0.62:
        return "".join(rng.choice("0123456789") for _ in range(rng.randint(1, 9)))
    if kind < 0.72:
        word = "".join(rng.choice("etaoinshrdlu") for _ in range(rng.randint(1, 10)))
        return rng.choice([word, word.upper(), word.capitalize(), word[:3].upper() + word[3:], " " + word])
    if kind < 0.77:
        return rng.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") * rng.randint(1, 4)
    low, high = rng.choice(BLOCKS)
    n = rng.randint(1, 8)
    return "".join(chr(cp) for cp in (rng.randint(low, high) for _ in range(n)) if assigned(cp))


def texts(seed, n, without=()):
    """n texts; the characters in `without` never occur."""
    rng = random.Random(seed)
    made = ["", " ", "  ", "\n", "a", "Hello, world!", " leading", "trailing ", "a  b", "🦙 llama", "[INST]", "\r\n\r\n"]
    while len(made) < n:
        text = "".join(piece(rng) for _ in range(rng.randint(1, 14)))
        if rng.random() < 0.1:
            text = unicodedata.normalize(rng.choice(["NFC", "NFD", "NFKC"]), text)
        made.append(text)
    return ["".join(c for c in text if c not in without) for text in made[:n]]


def lossless(batch, model):
    """Whether a text can come back from its ids: its bytes all have a token, and U+2581 is no space."""
    spelled = ours(batch, model, [("L", bytes([byte])) for byte in range(256)])
    spm = ours(batch, model, [("L", b" "), ("L", "\u2581".encode())])
    same = spm[0] == spm[1]
    return lambda body: all(spelled[byte] for byte in body) and not (same and "\u2581".encode() in body)


def ours(batch, model, records):
    """Ids of each record (kind, bytes) by our tokenizer; exits with its message when it fails."""
    data = b"".join(b"%s %d\n%s" % (kind.encode(), len(body), body) for kind, body in records)
    done = subprocess.run([batch, model], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        sys.exit("%s on %s: exit %d: %s" % (batch, model, done.returncode, done.stderr.decode(errors="replace")[:2000]))
    lines = done.stdout.decode().splitlines()
    if len(lines) != len(records):
        sys.exit("%d answers to %d records" % (len(lines), len(records)))
    return [line if line.startswith("!") else [int(word) for word in line.split()] for line in lines]


def compare(name, records, got, expected):
    """Count and print differences; returns their number."""
    wrong = 0
    for (kind, body), a, b in zip(records, got, expected):
        if a == b:
            continue
        wrong += 1
        if wrong <= 5:
            print("%s: %s %r\n  ours     %s\n  expected %s" % (name, kind, body.decode(), a, b))
    print("%s: %d of %d equal" % (name, len(records) - wrong, len(records)))
    return wrong
