"""MLX directories made by mx.quantize and by mlx-lm's own quantize_model, and mlx-lm's logits from them."""
import os
import pathlib

import mlx.core as mx
import mlx_lm.utils
import numpy as np
from mlx_lm.convert import mixed_quant_predicate_builder

from . import containers

mx.set_default_device(mx.cpu)
DTYPES = {"f32": mx.float32, "f16": mx.float16, "bf16": mx.bfloat16}


def logits(folder, ids):
    """One prefill in float32, no cache."""
    model, _ = mlx_lm.utils.load_model(pathlib.Path(folder))
    model.set_dtype(mx.float32)
    out = model(mx.array([ids]))[0]
    mx.eval(out)
    return np.array(out, dtype=np.float32)


def module_of(s, name):
    return containers.hf_name(s, name).removesuffix(".weight")


def write(s, w, folder, bits, group, overrides=None, mode=True):
    """
    Every matrix through mx.quantize in the specification's dtype. overrides: module path -> {"bits", "group_size"}
    or False for "not quantized".
    """
    os.makedirs(folder, exist_ok=True)
    overrides = overrides or {}
    tensors = {}
    for name, x in w.items():
        a = mx.array(x).astype(DTYPES[s.dtype])
        path = module_of(s, name)
        how = overrides.get(path, {"bits": bits, "group_size": group})
        if x.ndim < 2 or how is False:
            tensors[containers.hf_name(s, name)] = a
            continue
        packed, scales, biases = mx.quantize(a, group_size=how["group_size"], bits=how["bits"])
        tensors |= {path + ".weight": packed, path + ".scales": scales, path + ".biases": biases}
    mx.save_safetensors(os.path.join(folder, "model.safetensors"), dict(sorted(tensors.items())),
                        metadata={"format": "mlx"})
    section = {"group_size": group, "bits": bits} | ({"mode": "affine"} if mode else {}) | overrides
    c = containers.config(s) | {"quantization": section, "quantization_config": section}
    if "text_config" in c:  # mlx-lm looks for it there only
        c["text_config"]["tie_word_embeddings"] = s.tied
    containers.write_json(os.path.join(folder, "config.json"), dict(sorted(c.items())))


def write_recipe(s, w, folder, recipe, group, scratch):
    """A directory exactly as `mlx_lm.convert --quant-predicate` leaves it: loaded, quantized and saved by mlx-lm."""
    containers.write_hf(s, w, scratch)
    model, config = mlx_lm.utils.load_model(pathlib.Path(scratch))
    predicate = mixed_quant_predicate_builder(recipe, model, group)
    model, config = mlx_lm.utils.quantize_model(model, config, group, 4, quant_predicate=predicate)
    os.makedirs(folder, exist_ok=True)
    mlx_lm.utils.save_model(pathlib.Path(folder), model, donate_model=False)
    mlx_lm.utils.save_config(config, pathlib.Path(folder) / "config.json")
