"""The driver of mlx-lm: load_model and generate_step, as its users run it."""
import anemo_driver

import pathlib

import mlx.core as mx
import mlx_lm
import numpy as np
from mlx.utils import tree_flatten, tree_map
from mlx_lm.generate import generate_step, generation_stream
from mlx_lm.models.cache import can_trim_prompt_cache, make_prompt_cache, trim_prompt_cache
from mlx_lm.sample_utils import make_logits_processors, make_sampler
from mlx_lm.utils import load_model, load_tokenizer

DTYPES = {"f32": mx.float32, "f16": mx.float16, "bf16": mx.bfloat16}
NAMES = {v: k for k, v in DTYPES.items()}


def has_gpu():
    return mx.is_available(mx.gpu)


def compute_dtype(model):
    """Type of the activations: that of the norms, which no quantization touches."""
    for name, value in tree_flatten(model.parameters()):
        if name.endswith("norm.weight"):
            return value.dtype
    return mx.float32


class MlxLm(anemo_driver.Engine):
    driver = "mlx-lm"
    engine = "mlx-lm"
    engine_version = f"{mlx_lm.__version__} (mlx {mx.__version__})"
    library = mlx_lm.__file__
    formats = ["mlx"]
    capabilities = {"logits": True, "tokenize": True, "stream": True, "cancel": True, "ids": True, "fixed_length": True,
                    "step": True, "sampling": True, "threads": False, "kv_types": [], "flash_attn": False}

    def __init__(self):
        self.devices = [{"name": "gpu" if has_gpu() else "cpu", "kind": "gpu" if has_gpu() else "cpu",
                         "description": str(mx.default_device())}]
        self._model = self._tokenizer = self._cache = None
        self._n_past = 0
        self._n_batch = 512

    def load(self, path, settings):
        stock = bool(settings.get("stock"))
        device = "auto" if stock else settings.get("device", "auto")
        if device == "gpu" and not has_gpu():
            raise anemo_driver.DriverError("unsupported", "this MLX has no GPU; use --device cpu")
        if device == "cpu":
            mx.set_default_device(mx.cpu)
        on_gpu = mx.default_device() == mx.Device(mx.gpu) if has_gpu() else False
        self._path = pathlib.Path(path)
        self._model, config = load_model(self._path, lazy=False)
        wanted = "auto" if stock else settings.get("compute_dtype", "auto")
        if wanted == "q8":
            raise anemo_driver.DriverError("unsupported", "MLX does not quantize activations; use --compute f32")
        # A CPU without native half arithmetic emulates it in scalar code, many times slower than float32. The stored
        # scales keep their values in the wider type, so nothing is lost.
        dtype = DTYPES.get(wanted) or (None if stock or on_gpu else mx.float32)
        if dtype is not None:
            self._cast(dtype)
        mx.eval(self._model.parameters())
        self._n_batch = 2048 if stock else int(settings.get("n_batch", 512))
        name = NAMES.get(compute_dtype(self._model), "")
        effective = {"n_ctx": None, "n_batch": self._n_batch, "n_ubatch": None, "threads": None, "threads_batch": None,
                     "kv_type": name, "kv_type_v": name, "flash_attn": None, "device": "gpu" if on_gpu else "cpu",
                     "n_gpu_layers": None, "compute_dtype": name}
        text_config = config.get("text_config") or config
        self._n_vocab = int(text_config.get("vocab_size") or 0)
        return effective, {"format": "mlx", "quantization": self._quantization(config), "n_vocab": self._n_vocab,
                           "n_ctx_train": int(text_config.get("max_position_embeddings") or 0)}

    def _cast(self, dtype):
        floats = (mx.float16, mx.bfloat16, mx.float32)
        self._model.update(tree_map(lambda p: p.astype(dtype) if p.dtype in floats else p, self._model.parameters()))

    @staticmethod
    def _quantization(config):
        q = config.get("quantization")
        if not isinstance(q, dict):
            return str(config.get("torch_dtype") or config.get("dtype") or "")
        mixed = any(isinstance(v, dict) for v in q.values())
        return f"{q.get('bits')}-bit {q.get('mode', 'affine')} g{q.get('group_size')}{'+' if mixed else ''}"

    def generate(self, prompt_ids, n_predict, sampling):
        if self._n_vocab and max(prompt_ids) >= self._n_vocab:
            raise anemo_driver.DriverError("inval", f"id {max(prompt_ids)} is outside the vocabulary of {self._n_vocab}")
        temperature = float(sampling.get("temperature", 0))
        if temperature > 0:
            mx.random.seed(int(sampling.get("seed") or 0))
        sampler = make_sampler(temp=temperature, top_p=float(sampling.get("top_p", 1)),
                               min_p=float(sampling.get("min_p", 0)), top_k=int(sampling.get("top_k", 0)))
        penalty = float(sampling.get("repeat_penalty", 1))
        processors = make_logits_processors(repetition_penalty=penalty, repetition_context_size=64) if penalty != 1 else None
        for token, _ in generate_step(mx.array(prompt_ids), self._model, max_tokens=n_predict, sampler=sampler,
                                      logits_processors=processors, prefill_step_size=self._n_batch):
            yield token

    # As generate_step runs a prompt: all but its last id fill the cache alone, and that one is a pass with logits.
    def forward(self, ids, more):
        with mx.stream(generation_stream):
            begin = len(ids) if more else len(ids) - 1
            if begin:
                self._model(mx.array(ids[:begin])[None], cache=self._cache)
                mx.eval([c.state for c in self._cache])
            if not more:
                mx.eval(self._model(mx.array(ids[begin:])[None], cache=self._cache)[:, -1, :])
        self._n_past += len(ids)

    def rewind(self, n):
        if n and not can_trim_prompt_cache(self._cache):
            return False
        if n:
            trim_prompt_cache(self._cache, self._n_past - n)
        else:
            self._cache = make_prompt_cache(self._model)
        self._n_past = n
        return True

    def tokenize(self, text, special):
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self._path)
        return list(self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=not special))

    def logits(self, ids):
        cache = make_prompt_cache(self._model)
        rows = []
        for begin in range(0, len(ids), self._n_batch):
            part = self._model(mx.array(ids[begin:begin + self._n_batch])[None], cache=cache)[0]
            rows.append(np.array(part.astype(mx.float32)))
        return np.concatenate(rows)


anemo_driver.serve(MlxLm())
