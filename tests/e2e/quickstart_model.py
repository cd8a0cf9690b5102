#!/usr/bin/env python3
"""./quickstart --model mistral-7b against a hub of our own, which serves a Mistral of two layers under the real name: the
first run fetches, converts and compares, a second one asks the hub for nothing, and one that lost a form makes only that.

Environment: ANEMO_BUILD; ANEMO_ENGINES with --engines as the argument.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/hub"))
from fake_hub import Hub  # noqa: E402

ANEMO = (pathlib.Path(os.environ["ANEMO_BUILD"]) / "anemo").resolve()
NAME = "mistralai/Mistral-7B-Instruct-v0.3"
SHAPE = {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "hidden_size": 256, "intermediate_size": 512,
         "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 32768,
         "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 1e6, "sliding_window": None,
         "tie_word_embeddings": False}


def main():
    with tempfile.TemporaryDirectory() as temp:
        temp = pathlib.Path(temp)
        (temp / "config.json").write_text(json.dumps(SHAPE))
        subprocess.run([ANEMO, "synth", temp / "config.json", "--quant", "BF16", "--format", "mlx", "-o", temp / "hf", "-q"],
                       check=True)
        hub = Hub()
        repo = hub.repo(NAME, {p.name: p.read_bytes() for p in (temp / "hf").iterdir()})
        env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        env |= {"HOME": str(temp), "XDG_DATA_HOME": str(temp / "data"), "XDG_CACHE_HOME": str(temp / "cache"),
                "HF_HOME": str(temp / "hub"), "HF_ENDPOINT": hub.url, "no_proxy": "*"}
        models = temp / "data/anemo/models"
        gguf, mlx = models / "Mistral-7B-Instruct-v0.3-Q4_K_M.gguf", models / "Mistral-7B-Instruct-v0.3-mlx-4bit"

        def quickstart(*words):
            r = subprocess.run([ROOT / "quickstart", "--no-engines", "--program", ANEMO, "-n", "4", "-r", "1", "--threads", "1",
                                *words], env=env, capture_output=True, text=True, timeout=120)
            print(r.stderr)
            return r

        r = quickstart("--model", "mistral-7b")
        assert r.returncode == 0, (r.returncode, r.stdout)
        assert "native" in r.stdout and "A longer workload" in r.stdout, r.stdout
        assert gguf.is_file() and (mlx / "config.json").is_file()
        assert json.loads((mlx / "config.json").read_text())["quantization"]["bits"] == 4
        n = len(hub.log)
        assert n > 5
        made = gguf.stat().st_mtime_ns
        assert quickstart("--model", "mistral-7b").returncode == 0
        assert len(hub.log) == n, "a second run asks the hub"
        for path in mlx.iterdir():
            path.unlink()
        mlx.rmdir()
        assert quickstart("--model", NAME).returncode == 0
        assert (mlx / "config.json").is_file() and gguf.stat().st_mtime_ns == made
        r = quickstart("--model", "nobody/nothing")
        assert r.returncode == 4 and "nobody/nothing" in r.stderr, (r.returncode, r.stderr)
        r = quickstart("--model", "nothing")
        assert r.returncode == 4 and "no such file" in r.stderr
        assert repo
        hub.close()


if __name__ == "__main__":
    sys.exit(main())
