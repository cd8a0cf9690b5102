"""The driver of llama-cpp-python: the package through its public class Llama, as its users run it."""
import anemo_driver

import llama_cpp
import numpy as np

GGML_TYPE_BF16 = 30  # the package names no constant for it
KV_TYPES = {"f16": llama_cpp.GGML_TYPE_F16, "f32": llama_cpp.GGML_TYPE_F32, "bf16": GGML_TYPE_BF16,
            "q8_0": llama_cpp.GGML_TYPE_Q8_0, "q4_0": llama_cpp.GGML_TYPE_Q4_0, "q4_1": llama_cpp.GGML_TYPE_Q4_1,
            "q5_0": llama_cpp.GGML_TYPE_Q5_0, "q5_1": llama_cpp.GGML_TYPE_Q5_1, "iq4_nl": llama_cpp.GGML_TYPE_IQ4_NL}
FILE_TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
              12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
              25: "IQ4_NL", 30: "IQ4_XS", 32: "BF16"}


class LlamaCppPython(anemo_driver.Engine):
    driver = "llama-cpp-python"
    engine = "llama-cpp-python"
    engine_version = llama_cpp.__version__
    library = llama_cpp.__file__
    formats = ["gguf"]
    capabilities = {"logits": True, "tokenize": True, "stream": True, "cancel": True, "ids": True, "fixed_length": True,
                    "step": True, "sampling": True, "threads": True, "kv_types": list(KV_TYPES), "flash_attn": True}

    def __init__(self):
        self._llama = None
        self._options = {}

    def load(self, path, settings):
        gpu = bool(llama_cpp.llama_supports_gpu_offload())
        if settings.get("device") == "gpu" and not gpu:
            raise anemo_driver.DriverError("unsupported", "llama-cpp-python was built without a GPU; use --device cpu")
        if settings.get("stock"):
            # The default context holds 512 positions; it grows only when the work would not fit.
            self._options = {"n_ctx": settings["n_ctx"]} if settings.get("n_ctx", 0) > 512 else {}
        else:
            use_gpu = gpu and settings.get("device") != "cpu"
            kv = settings.get("kv_type") or "f16"
            kv_v = settings.get("kv_type_v") or kv
            for name in (kv, kv_v):
                if name not in KV_TYPES:
                    raise anemo_driver.DriverError(
                        "inval", f'"kv_type" is "{name}", expected one of: {", ".join(KV_TYPES)}')
            # The package has only on and off; libllama's "auto" turns it on wherever the CPU backend runs it.
            flash = settings.get("flash_attn", "auto") != "off"
            self._options = {"n_ctx": settings["n_ctx"], "n_batch": settings["n_batch"],
                             "n_ubatch": settings["n_ubatch"], "n_threads": settings["threads"],
                             "n_threads_batch": settings["threads_batch"], "type_k": KV_TYPES[kv],
                             "type_v": KV_TYPES[kv_v],
                             "flash_attn": flash, "n_gpu_layers": settings.get("n_gpu_layers", -1) if use_gpu else 0}
        try:
            self._llama = llama_cpp.Llama(path, verbose=False, **self._options)
        except ValueError as e:
            raise anemo_driver.DriverError("format", f"{path}: llama-cpp-python cannot load it: {e}") from e
        self._path = path
        return self._effective(), self._model()

    def _effective(self):
        p = self._llama.context_params
        names = {v: k for k, v in KV_TYPES.items()}
        flash = p.flash_attn_type == llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
        gpu_layers = self._llama.model_params.n_gpu_layers
        device = "gpu" if gpu_layers and llama_cpp.llama_supports_gpu_offload() else "cpu"
        return {"n_ctx": self._llama.n_ctx(), "n_batch": self._llama.n_batch, "n_ubatch": p.n_ubatch,
                "threads": self._llama.n_threads, "threads_batch": self._llama.n_threads_batch,
                "kv_type": names.get(p.type_k), "kv_type_v": names.get(p.type_v),
                "flash_attn": "on" if flash else "off", "device": device,
                "n_gpu_layers": gpu_layers if device == "gpu" else 0, "compute_dtype": "q8"}

    def _model(self):
        meta = self._llama.metadata
        file_type = int(meta.get("general.file_type", -1))
        arch = meta.get("general.architecture", "")
        return {"format": "gguf", "quantization": FILE_TYPES.get(file_type, ""), "n_vocab": self._llama.n_vocab(),
                "n_ctx_train": int(meta.get(f"{arch}.context_length", 0))}

    def generate(self, prompt_ids, n_predict, sampling):
        self._check(prompt_ids, n_predict)
        # Without this the package would find the last prompt in its cache and skip the prefill.
        self._llama.reset()
        if sampling.get("seed") is not None:
            self._llama.set_seed(int(sampling["seed"]) & 0xFFFFFFFF)
        return self._llama.generate(
            prompt_ids, temp=float(sampling.get("temperature", 0)), top_k=int(sampling.get("top_k", 0)),
            top_p=float(sampling.get("top_p", 1)), min_p=float(sampling.get("min_p", 0)),
            repeat_penalty=float(sampling.get("repeat_penalty", 1)))

    def _check(self, ids, n_more):
        if max(ids) >= self._llama.n_vocab():
            raise anemo_driver.DriverError("inval", f"id {max(ids)} is outside the vocabulary of {self._llama.n_vocab()}")
        if len(ids) + n_more > self._llama.n_ctx():
            raise anemo_driver.DriverError(
                "inval", f"{len(ids)} + {n_more} tokens do not fit in the context of {self._llama.n_ctx()}")

    # Llama.eval cuts the cache back to n_tokens before each pass and copies no logits.
    def forward(self, ids, more):
        self._llama.eval(ids)
        if not more:
            llama_cpp.llama_synchronize(self._llama.ctx)

    def rewind(self, n):
        if n == 0:
            self._llama.reset()
        elif llama_cpp.llama_model_n_swa(self._llama.model) > 0:
            return False
        self._llama.n_tokens = n
        return True

    def tokenize(self, text, special):
        vocab = llama_cpp.llama_model_get_vocab(self._llama.model)
        if llama_cpp.llama_vocab_type(vocab) == llama_cpp.LLAMA_VOCAB_TYPE_NONE:  # libllama aborts
            raise anemo_driver.DriverError("unsupported", "tokenize: the model has no vocabulary")
        return list(self._llama.tokenize(text.encode(), add_bos=False, special=special))

    def logits(self, ids):
        self._check(ids, 0)
        # The class keeps logits of all tokens only when it was made so; that copy would distort the memory figures
        # of the measured one.
        other = llama_cpp.Llama(self._path, verbose=False, logits_all=True, **self._options)
        try:
            other.eval(ids)
            return np.array(other.scores[: len(ids)], dtype=np.float32)
        finally:
            other.close()


anemo_driver.serve(LlamaCppPython())
