"""
The figures that are measured, the bars that they are held to, and what a bar says of measured ones. Speeds are tokens per second of
llama-bench's kind. "Best peer" is the one with the highest median speed of a figure.
"""
import dataclasses

from .peers import Test

GGUF_4BIT = ("Q4_0", "Q4_K_M", "IQ4_XS")
MLX_4BIT = ("mlx:4bit-g64", "mlx:4bit-g32")
GGUF = ("Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "IQ4_XS")
SMOL, SMOL_MLX = "smollm2", "smollm2-mlx"


@dataclasses.dataclass(frozen=True)
class Figure:
    """
    A kind of measurement. `rival` says whom it is held against: "peers", "native:QUANT" (our own engine on another model), "mlx" (the
    mlx driver) or "" (nobody). `warm` is a test that warms a peer up in place of a whole prompt, `screen` what is measured to find its
    best setting, `roof` what the figure is a share of ("copy": seconds of a plain read of the files, the figure being seconds of loading).
    """
    name: str
    title: str
    quants: tuple
    test: Test
    roof: str
    pairs: int
    rival: str = "peers"
    threads: int = 0            # 0: those of the command line
    repetitions: int = 1
    warm: tuple = ()
    screen: tuple = ()
    isa: str = ""
    ubatch: int = 0
    ours_too: tuple = ()        # tests that only our engine runs beside it
    only: str = ""              # the one peer that its bar is about
    layouts: tuple = ()         # of our weights; none: those of the command line
    cold: bool = False          # the files leave the page cache first


FIGURES = (
    Figure("prefill", "prefill 512", GGUF, Test(n_prompt=512), "i8", 3, warm=(Test(n_prompt=16),), screen=(Test(n_prompt=128),)),
    Figure("prefill-mlx", "prefill 512, MLX against our Q4_0", ("mlx:4bit-g64",), Test(n_prompt=512), "i8", 3, rival="native:Q4_0"),
    Figure("step8", "step of 8 tokens", ("Q4_K_M",), Test(n_prompt=8), "both", 6, repetitions=3, screen=(Test(n_prompt=8),), ubatch=8),
    Figure("decode", "decode", GGUF_4BIT, Test(n_gen=32), "stream", 6, screen=(Test(n_gen=16),)),
    Figure("decode-mlx", "decode, MLX", MLX_4BIT, Test(n_gen=32), "stream", 6, rival=""),
    Figure("decode1", "decode, 1 thread", ("Q4_K_M",), Test(n_gen=24), "stream", 6, threads=1, screen=(Test(n_gen=8),)),
    Figure("depth", "decode at depth 4096", ("Q4_K_M",), Test(n_gen=32, depth=4096), "stream", 2, repetitions=2,
           screen=(Test(n_gen=16, depth=512),), ours_too=(Test(n_gen=32),), only="llama.cpp"),
    Figure("smol-decode", "SmolLM2 decode", (SMOL,), Test(n_gen=128), "stream", 10, repetitions=3, screen=(Test(n_gen=128),)),
    Figure("smol-prefill", "SmolLM2 prefill 512", (SMOL,), Test(n_prompt=512), "i8", 10, repetitions=3, warm=(Test(n_prompt=512),),
           screen=(Test(n_prompt=512),)),
    Figure("smol-mlx", "SmolLM2 decode as MLX directory against the mlx driver", (SMOL_MLX,), Test(n_gen=32), "stream", 4, rival="mlx"),
    Figure("load", "load, page cache warm", ("Q4_K_M",), Test(n_gen=1), "copy", 3, rival="", layouts=("mapped", "cached", "repacked")),
    Figure("load-cold", "load, page cache cold", ("Q4_K_M",), Test(n_gen=1), "copy", 2, rival="", layouts=("repacked",), cold=True),
    Figure("prefill-avx2", "prefill 512, AVX2", ("Q4_0", "Q4_K_M"), Test(n_prompt=512), "i8", 3, isa="avx2", rival="peers-avx2",
           warm=(Test(n_prompt=16),), screen=(Test(n_prompt=128),)),
)
BY_NAME = {f.name: f for f in FIGURES}
# Not in a plain run: everything that has no bar of its own, or needs what a plain run does not have.
EXTRA_QUANTS = {"decode": ("Q4_1", "IQ4_NL", "Q5_K_M", "Q6_K", "Q8_0"),
                "decode-mlx": ("mlx:4bit-g128", "mlx:5bit-g64", "mlx:6bit-g64", "mlx:8bit-g64", "mlx:8bit-g32"),
                "step8": GGUF, "decode1": GGUF, "load": GGUF, "load-cold": GGUF}


def _at_least(value, bar):
    return value is not None and value >= bar


def _ratio(s, bar):
    """(reached, None when it was not measured, text)."""
    r = s["best"] and s["best"]["ratio"]
    return None if r is None else _at_least(r, bar), f">= {bar:g}x"


def _prefill(s):
    amx, quant = s["amx"] and not s["isa"], s["quant"]
    if s["isa"]:
        return _ratio(s, 1.0)
    if amx:
        reached, text = _ratio(s, 4.0)
        if quant != "Q4_K_M":
            text += " or >= 35 % of the tiles' peak"
            reached = reached or (True if _at_least(s["share_tile"], 0.35) else reached)
        return reached, text
    return _ratio(s, {"Q6_K": 1.2, "IQ4_XS": 1.05}.get(quant, 1.4))


def _prefill_mlx(s):
    r = s["best"] and s["best"]["ratio"]
    return None if r is None else r >= 0.9, ">= 0.9x our Q4_0"


def _step8(s):
    ratio, text = _ratio(s, 3.0)
    share = s["share_roof"]
    return (None if ratio is None and share is None else bool(ratio) or _at_least(share, 0.75)), text + " or >= 75 % of roof"


def _decode(s):
    share, best = s["share_stream"], s["best"]
    # A peer is required of GGUF files only, where there are peers; without one the share alone cannot reach the bar.
    if share is None or (best is None and not s["quant"].startswith("mlx:")):
        return (False if share is not None and share < 0.92 else None), ">= 92 % of stream, peer's interval not below 1"
    return share >= 0.92 and (best is None or best["hi"] >= 1.0), ">= 92 % of stream" + (", interval not below 1" if best else "")


def _decode1(s):
    ratio, _ = _ratio(s, 1.15)
    share = s["share_stream"]
    return (None if ratio is None and share is None else bool(ratio) or _at_least(share, 0.92)), ">= 1.15x or >= 92 % of stream"


def _depth(s):
    held, want = s["depth_ratio"], s["depth_roof"]
    peer = s["peers"].get("llama.cpp")
    text = f">= 92 % of {want:.3f} of depth 0 and >= 1.5x llama.cpp" if want else ">= 92 % of W/(W+KV) and >= 1.5x llama.cpp"
    if held is None:
        return None, text
    if held < 0.92 * want:
        return False, text
    return None if peer is None else peer["ratio"] >= 1.5, text


def _smol_decode(s):
    ratio, _ = _ratio(s, 1.05)
    share = s["share_stream"]
    return (None if ratio is None and share is None else bool(ratio) or _at_least(share, 0.85)), ">= 1.05x or >= 85 % of stream"


def _smol_prefill(s):
    return _ratio(s, 2.5 if s["amx"] else 1.5)


def _smol_mlx(s):
    return _ratio(s, 15.0)


def _load(s):
    """Starts that read no weights are ready at once; one that reads them all keeps up with a plain read."""
    load = s["load_s"]
    if s["layout"] != "repacked":
        return (None if load is None else load < 0.3), "< 0.3 s"
    return (None if load is None or not s["copy_s"] else load <= s["copy_s"]), "no longer than reading the file"


_BARS = {"load": _load, "load-cold": _load, "prefill": _prefill, "prefill-avx2": _prefill, "prefill-mlx": _prefill_mlx,
         "step8": _step8, "decode": _decode, "decode-mlx": _decode, "decode1": _decode1, "depth": _depth, "smol-decode": _smol_decode, "smol-prefill": _smol_prefill,
         "smol-mlx": _smol_mlx}


def verdict(name, summary):
    """("reached", "missed" or "not measured", the bar)."""
    reached, text = _BARS[name](summary)
    return "not measured" if reached is None else "reached" if reached else "missed", text
