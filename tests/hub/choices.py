"""Names of models, and which files of a repository are fetched."""
from fake_hub import noise
from harness import CONFIG, case, gguf, hf_files

QUANTS = ("Q2_K", "Q4_0", "Q4_K_M", "Q5_K_M", "Q8_0", "F16")


def quant_repo(t, names=QUANTS, name="model-GGUF"):
    return t.repo({**{f"model-{q}.gguf": gguf(1000 + i, q) for i, q in enumerate(names)}, "README.md": b"#"}, name)


def split_files(stem, n):
    return {f"{stem}-{i:05}-of-{n:05}.gguf": gguf(5000 + i, stem) for i in range(1, n + 1)}


def native_files():
    return {"params.json": b'{"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 96, "vocab_size": 32, "norm_eps": 1e-5}',
            "consolidated.safetensors": noise(9, 4000), "tokenizer.model.v3": noise(8, 300), "tekken.json": b"{}"}


def forms(name, commit):
    """Every way to write one GGUF file of a repository."""
    return {
        "org/name:QUANT": f"{name}:Q5_K_M", "the quantization in small letters": f"{name}:q5_k_m",
        "hf.co/": f"hf.co/{name}:Q5_K_M", "huggingface.co/": f"huggingface.co/{name}:Q5_K_M",
        "hf://": f"hf://{name}/model-Q5_K_M.gguf", "hf://models/": f"hf://models/{name}/model-Q5_K_M.gguf",
        "hf:// with a branch": f"hf://{name}@main/model-Q5_K_M.gguf",
        "hf:// with a commit": f"hf://{name}@{commit}/model-Q5_K_M.gguf",
        "a pasted address of a page": f"https://huggingface.co/{name}/blob/main/model-Q5_K_M.gguf",
        "a pasted address of a download": f"https://huggingface.co/{name}/resolve/main/model-Q5_K_M.gguf?download=true",
    }


def form_case(label):
    @case(f"a reference as {label}")
    def run(t):
        repo = quant_repo(t)
        done = t.pull(forms(repo.name, repo.head)[label])
        t.expect_files(repo, ["model-Q5_K_M.gguf"])
        assert done.path() == t.snapshot(repo) / "model-Q5_K_M.gguf", f"the last line is {done.path()}"


for key in forms("", ""):
    form_case(key)


@case("a reference as a pasted address of a repository")
def web_repo(t):
    repo = t.repo(hf_files())
    t.pull(f"https://huggingface.co/{repo.name}")
    assert (t.snapshot(repo) / "model.safetensors").exists()
    t.pull(f"https://huggingface.co/{repo.name}/tree/main")


@case("a reference as hf:// with a tag that has a slash")
def slash_revision(t):
    repo = t.repo(hf_files())
    commit = repo.commit({**hf_files(seed=5)}, "refs/pr/3")
    t.pull(f"hf://{repo.name}@refs%2Fpr%2F3")
    assert (t.snapshot(repo, commit) / "model.safetensors").exists()
    assert (t.folder(repo) / "refs/refs/pr/3").read_text() == commit


@case("a reference as a path of this machine asks no hub")
def local(t):
    n = len(t.hub.log)
    (t.root / "cwd" / "org").mkdir()
    (t.root / "cwd" / "org" / "name").mkdir()
    t.pull("org/name", expect=(0, 2), HF_ENDPOINT="http://127.0.0.1:9")
    t.pull("./org/none", expect=(2, 4), HF_ENDPOINT="http://127.0.0.1:9")
    t.pull(str(t.root / "cwd" / "nothing.gguf"), expect=(2, 4), HF_ENDPOINT="http://127.0.0.1:9")
    assert n <= len(t.hub.log)


@case("references that are none")
def bad_names(t):
    for name in ("", "a/b/c/d", "org/..", "../name", "org/na me", "org/name--x", "-org/name", "org/.name", "org/name.git", "o" * 97,
                 "hf://", "hf:///", "hf://org/name@", "https://example.org/org/name", "org/name:", "ftp://hf.co/org/name",
                 "hf://org/name/../x.gguf", "hf://org/name@../x", "org/näme", "hf://org/name@main/a//b", "hf://datasets/org/name",
                 "org/name\n", "org/%2e%2e"):
        done = t.pull(name, expect=(2, 3, 4), HF_ENDPOINT="http://127.0.0.1:9")
        assert done.seconds < 60, name  # at once, on a machine that has time for it


@case("the default quantization is Q4_K_M")
def default_quant(t):
    repo = quant_repo(t)
    t.pull(repo)
    t.expect_files(repo, ["model-Q4_K_M.gguf"])


@case("the first file when there is no Q4_K_M")
def first_quant(t):
    repo = quant_repo(t, ("Q8_0", "Q5_0"))
    t.pull(repo)
    assert len(t.published(repo)) == 1


@case("a quantization that is missing")
def missing_quant(t):
    repo = quant_repo(t)
    t.pull(f"{repo.name}:Q3_K_S", expect=4, says=["Q3_K_S", "Q8_0"])


@case("a quantization whose name begins another one")
def prefix_quant(t):
    repo = quant_repo(t, ("Q4_K_M", "Q4_K_S", "Q4_K", "IQ4_K_M"))
    t.pull(f"{repo.name}:Q4_K")
    t.expect_files(repo, ["model-Q4_K.gguf"])


@case("two files of one quantization are named")
def ambiguous(t):
    repo = t.repo({"a-Q4_K_M.gguf": gguf(1000, 1), "b-Q4_K_M.gguf": gguf(1000, 2)})
    t.pull(f"{repo.name}:Q4_K_M", expect=(2, 4), says=["a-Q4_K_M.gguf", "b-Q4_K_M.gguf"])


@case("all parts of a split file")
def splits(t):
    files = split_files("model-Q4_K_M", 3)
    repo = t.repo({**files, "model-Q8_0.gguf": gguf(2000)})
    done = t.pull(f"{repo.name}:Q4_K_M")
    t.expect_files(repo, list(files))
    assert done.path().name == "model-Q4_K_M-00001-of-00003.gguf"


@case("all parts of a split file in a folder")
def split_folder(t):
    files = split_files("Q4_K_M/model-Q4_K_M", 2)
    repo = t.repo({**files, **split_files("Q8_0/model-Q8_0", 2)})
    t.pull(f"{repo.name}:Q4_K_M")
    t.expect_files(repo, list(files))


@case("a split file of which a part is missing")
def split_gap(t):
    files = split_files("model-Q4_K_M", 3)
    del files["model-Q4_K_M-00002-of-00003.gguf"]
    repo = t.repo(files)
    t.pull(f"{repo.name}:Q4_K_M", expect=(3, 4), says=["00002-of-00003|2 of its 3"])


@case("projectors and importance matrices are not the model")
def projector(t):
    repo = t.repo({"mmproj-model-f16.gguf": gguf(900), "imatrix.gguf": gguf(800), "model-Q8_0.gguf": gguf(700)})
    t.pull(repo)
    t.expect_files(repo, ["model-Q8_0.gguf"])


@case("a Hugging Face repository: no code, no pictures, no second form of the weights")
def hugging_face(t):
    wanted = [n for n in hf_files() if not n.startswith((".", "README"))]
    files = {**hf_files(), "modeling.py": b"import os", "pytorch_model.bin": noise(1, 1000), "flax_model.msgpack": noise(2, 1000),
             "picture.png": b"x", "model.onnx": noise(4, 100), "chat_template.jinja": b"{{ x }}", "merges.txt": b"#"}
    repo = t.repo(files)
    t.pull(repo)
    got = {str(p.relative_to(t.snapshot(repo))) for p in t.snapshot(repo).rglob("*") if not p.is_dir()}
    assert got >= {*wanted, "chat_template.jinja", "merges.txt"}, got
    assert not got & {"modeling.py", "pytorch_model.bin", "flax_model.msgpack", "picture.png", "model.onnx"}, got


@case("shards of safetensors with their index")
def shards(t):
    files = {**hf_files(), **{f"model-{i:05}-of-00002.safetensors": noise(i, 3000) for i in (1, 2)}}
    del files["model.safetensors"]
    files["model.safetensors.index.json"] = b'{"weight_map": {"a": "model-00001-of-00002.safetensors"}}'
    repo = t.repo(files)
    t.pull(repo)
    for name in files:
        assert name.startswith((".", "README")) or (t.snapshot(repo) / name).exists(), name


@case("consolidated and model files: only one set")
def both_sets(t):
    repo = t.repo({**hf_files(), **native_files()})
    t.pull(repo)
    got = {p.name for p in t.snapshot(repo).rglob("*")}
    assert "model.safetensors" in got and "consolidated.safetensors" not in got, got


@case("a repository in Mistral's own form only")
def native(t):
    repo = t.repo({**native_files(), "README.md": b"#"})
    t.pull(repo)
    got = {p.name for p in t.snapshot(repo).rglob("*")}
    assert got >= set(native_files()), got


@case("a repository in Mistral's own form, as .pth")
def native_pth(t):
    files = {**native_files(), "consolidated.00.pth": noise(3, 900)}
    del files["consolidated.safetensors"]
    repo = t.repo(files)
    t.pull(repo)
    assert (t.snapshot(repo) / "consolidated.00.pth").exists()


@case("PyTorch shards when there are no safetensors")
def pytorch(t):
    files = {"config.json": CONFIG, "tokenizer.model": noise(1, 500), "pytorch_model.bin.index.json": b'{"weight_map": {}}',
             **{f"pytorch_model-{i:05}-of-00002.bin": noise(i, 3000) for i in (1, 2)}}
    repo = t.repo(files)
    t.pull(repo)
    t.expect_files(repo, list(files))


@case("an MLX repository")
def mlx(t):
    config = CONFIG.rstrip()[:-1] + b', "quantization": {"group_size": 64, "bits": 4}}'
    repo = t.repo({**hf_files(), "config.json": config}, "model-4bit-mlx")
    done = t.pull(repo)
    assert done.path() == t.snapshot(repo)


@case("a repository without a model")
def no_model(t):
    repo = t.repo({"README.md": b"#", "data.csv": b"1,2"})
    t.pull(repo, expect=(3, 4), says=[repo.name])
    assert not t.published(repo)
