"""
Our ids against libllama's on GGUF files: oracle_llama.py BATCH N MODEL[@PRE]...
N texts each, with and without special tokens. @PRE puts another pre-tokenizer's name into a copy of a vocabulary file,
for the names of which there is no file.
"""
import os
import struct
import sys
import tempfile

import texts

try:
    import llama_cpp
except ImportError:
    sys.exit(77)


def with_pre(path, pre, folder):
    """A copy of a GGUF vocabulary (no tensors follow its keys) whose tokenizer.ggml.pre is `pre`."""
    data = open(path, "rb").read()
    key = b"tokenizer.ggml.pre" + struct.pack("<I", 8)
    at = data.index(key) + len(key)
    size = struct.unpack_from("<Q", data, at)[0]
    copy = os.path.join(folder, "%s-%s.gguf" % (os.path.basename(path)[:-5], pre))
    with open(copy, "wb") as out:
        out.write(data[:at] + struct.pack("<Q", len(pre)) + pre.encode() + data[at + 8 + size:])
    return copy


def check_chat(batch, model, jinja, tokenize, bodies):
    """Conversations against transformers' rendering of the model's own template, tokenized by libllama."""
    try:
        from transformers.utils.chat_template_utils import render_jinja_template
    except ImportError:
        print("no transformers: the chat template is not compared")
        return 0
    # In a rendered text a special token that the user wrote cannot be told from the template's own; NUL ends our roles.
    plain = [body.decode() for body in bodies if b"<" not in body and b"\0" not in body]
    records, expected = [], []
    for i in range(0, len(plain) - 4, 4):
        roles = [["user"], ["system", "user"], ["user", "assistant", "user"]][i // 4 % 3]
        chat = [{"role": role, "content": text} for role, text in zip(roles, plain[i:])]
        rendered, _ = render_jinja_template([chat], chat_template=jinja, add_generation_prompt=True)
        records.append(("C", "".join(m["role"] + "\0" + m["content"] + "\0" for m in chat).encode()))
        expected.append(tokenize("S", rendered[0].encode()))
    return texts.compare(os.path.basename(model) + " chat", records, texts.ours(batch, model, records), expected)


def main():
    batch, n, models = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    llama_cpp.llama_backend_init()
    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, None)
    wrong = 0
    folder = tempfile.TemporaryDirectory()
    for seed, model in enumerate(models):
        if "@" in model:
            model = with_pre(*model.split("@"), folder.name)
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = True
        handle = llama_cpp.llama_model_load_from_file(model.encode(), params)
        if not handle:
            sys.exit("libllama cannot load " + model)
        vocab = llama_cpp.llama_model_get_vocab(handle)

        def tokenize(kind, body):
            room = len(body) * 4 + 16
            ids = (llama_cpp.llama_token * room)()
            count = llama_cpp.llama_tokenize(vocab, body, len(body), ids, room, False, kind == "S")
            return list(ids[:count])

        # Phi-3's special pieces swallow white space, so its texts do not come back.
        whole = (lambda body: False) if "phi-3" in model else texts.lossless(batch, model)
        bodies = [text.encode() for text in texts.texts(seed + 1, n)]
        records = [("S" if i % 5 == 4 else "T" if whole(body) else "L", body) for i, body in enumerate(bodies)]
        got = texts.ours(batch, model, records)
        wrong += texts.compare(os.path.basename(model), records, got, [tokenize(*r) for r in records])
        ends = [i for i in range(llama_cpp.llama_vocab_n_tokens(vocab)) if llama_cpp.llama_vocab_is_eog(vocab, i)]
        wrong += texts.compare(os.path.basename(model) + " ends", [("E", b"")], texts.ours(batch, model, [("E", b"")]), [ends])
        jinja = llama_cpp.llama_model_chat_template(handle, None)
        if jinja and b"<|im_start|>" in jinja:
            wrong += check_chat(batch, model, jinja.decode(), tokenize, bodies[:max(n // 20, 50)])
        llama_cpp.llama_model_free(handle)
    sys.exit(1 if wrong else 0)


main()
