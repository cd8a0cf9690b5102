"""Reference logits from transformers (float32, eager attention). Imported by the generator alone."""
import json
import logging
import os

import numpy as np
import torch
import transformers
import transformers.utils.logging
from transformers.models.ministral.modeling_ministral import MinistralConfig, MinistralForCausalLM

from .containers import config

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
logging.getLogger("transformers").setLevel(logging.ERROR)

CLASSES = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "mistral": (transformers.MistralConfig, transformers.MistralForCausalLM),
    "ministral3": (transformers.Ministral3Config, transformers.Ministral3ForCausalLM),
}


def build(s, w):
    """The model with exactly the given float32 weights; its settings come from the config.json we write."""
    c = json.loads(json.dumps(config(s)))
    kind = s.hf_type
    if kind == "mistral3":
        tied, kind = c["tie_word_embeddings"], s.text_type
        c = c["text_config"] | {"tie_word_embeddings": tied}
    config_class, model_class = CLASSES[kind]
    if s.windows:
        config_class, model_class = MinistralConfig, MinistralForCausalLM
        c["model_type"] = "ministral"
    for key in ("dtype", "torch_dtype"):
        c.pop(key, None)
    c = config_class.from_dict(c)
    c._attn_implementation = "eager"
    model = model_class(c).to(torch.float32).eval()
    state = {k: torch.from_numpy(np.array(v, dtype=np.float32)) for k, v in w.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    if s.tied:
        model.tie_weights()
        missing = [m for m in missing if m != "lm_head.weight"]
    if missing or unexpected:
        raise RuntimeError(f"{s.name}: missing {missing}, unexpected {unexpected}")
    return model


def prefill(s, w, ids):
    with torch.no_grad():
        out = build(s, w)(torch.tensor([ids]), use_cache=False).logits[0]
    return out.numpy().astype(np.float32)


def decode(s, w, ids):
    """One token at a time with the cache."""
    model, cache, rows = build(s, w), None, []
    with torch.no_grad():
        for i in ids:
            out = model(torch.tensor([[i]]), past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            rows.append(out.logits[0, 0].numpy().astype(np.float32))
    return np.stack(rows)


def load_directory(folder, ids):
    """The written directory as a user would load it: proves that config.json and the tensors are valid."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        os.fspath(folder), dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0].numpy().astype(np.float32)
