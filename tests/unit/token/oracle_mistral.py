"""
Our ids against mistral-common's: oracle_mistral.py BATCH N FOLDER, FOLDER holding its data files.
N texts through each SentencePiece and Tekken file, and N / 20 conversations through each chat format.
"""
import json
import os
import random
import sys
import tempfile

import texts

try:
    import sentencepiece  # noqa: F401
    from mistral_common.protocol.instruct.messages import AssistantMessage, SystemMessage, UserMessage
    from mistral_common.protocol.instruct.request import ChatCompletionRequest
    from mistral_common.protocol.instruct.validator import ValidationMode
    from mistral_common.tokens.tokenizers.base import TokenizerVersion
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
except ImportError as reason:
    print("skipped:", reason)
    sys.exit(77)

FILES = ["tokenizer.model.v1", "mistral_instruct_tokenizer_240216.model.v2",
         "mistral_instruct_tokenizer_240323.model.v3", "mistral_instruct_tokenizer_241114.model.v7",
         "tekken_240718.json", "tekken_240911.json"]
MESSAGES = {"system": SystemMessage, "user": UserMessage, "assistant": AssistantMessage}


def conversation(rng, bodies):
    """Turns that mistral-common accepts: system first or not at all, user and assistant in turn, user last."""
    turns = [("system", rng.choice(bodies))] if rng.random() < 0.5 else []
    for _ in range(rng.randint(0, 3)):
        turns += [("user", rng.choice(bodies))] * rng.choice([1, 1, 1, 2])
        turns += [("assistant", rng.choice(bodies) or "x")]
    return turns + [("user", rng.choice(bodies))]


def as_version(path, version, folder):
    """A copy of a Tekken file that states another version: the package has none of v7."""
    with open(path) as source:
        data = json.load(source)
    data["config"]["version"] = version
    copy = os.path.join(folder, "tekken_%s.json" % version)
    with open(copy, "w") as out:
        json.dump(data, out)
    return copy


def main():
    batch, n, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    wrong = 0
    scratch = tempfile.TemporaryDirectory()
    paths = [folder + "/" + name for name in FILES] + [as_version(folder + "/" + FILES[-1], "v7", scratch.name)]
    for seed, path in enumerate(paths):
        name = os.path.basename(path)
        tokenizer = MistralTokenizer.from_file(path, mode=ValidationMode.test)
        raw = tokenizer.instruct_tokenizer.tokenizer
        whole = texts.lossless(batch, path)
        bodies = [text.encode() for text in texts.texts(seed + 100, n)]
        records = [("T" if whole(body) else "L", body) for body in bodies]
        got = texts.ours(batch, path, records)
        wrong += texts.compare(name, records, got, [raw.encode(b.decode(), bos=False, eos=False) for b in bodies])
        rng = random.Random(seed)
        plain = [text for text in texts.texts(seed + 200, 500) if "\0" not in text and text.strip()]
        records, expected = [], []
        for _ in range(max(n // 20, 50)):
            turns = conversation(rng, plain)
            body = b"".join(role.encode() + b"\0" + content.encode() + b"\0" for role, content in turns)
            request = ChatCompletionRequest(messages=[MESSAGES[role](content=content) for role, content in turns])
            records.append(("C", body))
            expected.append(tokenizer.encode_chat_completion(request).tokens)
        wrong += texts.compare(name + " chat", records, texts.ours(batch, path, records), expected)
    sys.exit(1 if wrong else 0)


main()
