"""From the lines of a result file to a table."""
import json

from . import figures, stats


def read_lines(path):
    """What is kept; a last line that was cut off is left out."""
    lines = []
    try:
        with open(path, encoding="utf-8") as f:
            for text in f:
                try:
                    lines.append(json.loads(text))
                except ValueError:
                    continue
    except FileNotFoundError:
        pass
    return lines


def key_of(line):
    """What pairs must share to be put together; the build comes first."""
    return line["build"], line["figure"], line["quant"], line["threads"], line["layers"], line["layout"]


def groups(lines):
    """{(figure, quant, threads, layers, layout): pairs} of the build that measured each last, in the order of figures."""
    by_key, latest = {}, {}
    for line in lines:
        if line.get("kind") == "pair":
            key = key_of(line)
            by_key.setdefault(key, []).append(line)
            latest[key[1:]] = key[0]
    order = [f.name for f in figures.FIGURES]
    chosen = {rest: by_key[(build, *rest)] for rest, build in latest.items()}
    place = {q: i for i, q in enumerate(dict.fromkeys(q for f in figures.FIGURES for q in f.quants))}
    return dict(sorted(chosen.items(), key=lambda item: (order.index(item[0][0]), place.get(item[0][1], 99), str(item[0][2:]))))


def _share(pairs, of):
    values = [of(p) for p in pairs]
    return stats.median(values)


def _mean(values):
    values = [v for v in values if v]
    return sum(values) / len(values) if values else None


def _stream_share(p, who="ours"):
    """Bytes a second over the mean of the samples right before and right after this program."""
    run, samples = p["runs"].get(who), p.get("stream") or []
    if not run or not samples or not p.get("step_bytes"):
        return None
    at = p["order"].index(who)
    near = _mean(samples[at:at + 2])
    step = p["step_bytes"] + p["kv_read_bytes"]
    return step * run["ts"] / max(p["n_prompt"], 1) / near if near else None


def _arith_share(p, peak):
    run, top = p["runs"].get("ours"), _mean(p.get(peak) or [])
    return p["prompt_ops"] * run["ts"] / top if run and top else None


def _roof_share(p):
    """Of the nearer of two roofs: reading all weights once a step, or multiplying for every token."""
    run, stream, top = p["runs"].get("ours"), _mean(p.get("stream") or []), _mean(p.get("i8_ops") or [])
    if not run or not stream or not top:
        return None
    step_s = max(p["step_bytes"] / stream, p["prompt_ops"] * p["n_prompt"] / top)
    return run["ts"] * step_s / p["n_prompt"]


def summarise(key, pairs):
    figure, quant, threads, layers, layout = key
    names = {n: None for p in pairs for n in p["runs"] if n != "ours"}
    peers = {}
    for name in names:
        both = [p for p in pairs if name in p["runs"] and "ours" in p["runs"]]
        r = stats.ratio([p["runs"]["ours"]["ts"] / p["runs"][name]["ts"] for p in both])
        if r:
            peers[name] = r | {"ts": stats.median([p["runs"][name]["ts"] for p in both]), "setting": both[-1]["runs"][name]["setting"],
                               "rss": max(p["runs"][name]["rss"] for p in both), "share": _share(both, lambda p, n=name: _stream_share(p, n))}
    best = max(peers.values(), key=lambda v: v["ts"]) if peers else None
    last = pairs[-1]
    ours = [p["runs"]["ours"] for p in pairs if "ours" in p["runs"]]
    depth = stats.ratio([r["ts"] / r["base_ts"] for r in ours if r.get("base_ts")])
    kv = last.get("kv_read_bytes") or 0
    rss_bar = last["file_bytes"] * 1.05 + last["kv_bytes"] + (100 << 20)
    return {"figure": figure, "quant": quant, "threads": threads, "layers": layers, "layout": layout, "isa": last["isa"], "n": len(pairs),
            "amx": any("amx" in f for f in last["machine"]["isa"]), "machine": last["machine"]["text"], "ts": stats.median([r["ts"] for r in ours]),
            "compute": ours[-1].get("compute") if ours else None,
            "load_s": stats.median([r.get("load_s") for r in ours]), "copy_s": stats.median([_mean(p.get("copy_s") or []) for p in pairs]),
            "rss": max((r["rss"] for r in ours), default=None), "rss_bar": rss_bar, "peers": peers,
            "best": best, "best_name": next((n for n in peers if peers[n] is best), None),
            "missing": {n: why for p in pairs for n, why in p["missing"].items() if n not in peers},
            "share_stream": _share(pairs, _stream_share), "share_i8": _share(pairs, lambda p: _arith_share(p, "i8_ops")),
            "share_tile": _share(pairs, lambda p: _arith_share(p, "bf16_tile_ops")), "share_roof": _share(pairs, _roof_share) if figure == "step8" else None,
            "stream": stats.median([_mean(p.get("stream") or []) for p in pairs]),
            "depth_ratio": depth["ratio"] if depth else None, "depth": depth,
            "depth_roof": last["step_bytes"] / (last["step_bytes"] + kv) if kv else None}


def _interval(r):
    level = "" if r["level"] >= 0.95 else f" ({100 * r['level']:.0f} %)" if r["n"] > 1 else " (one pair)"
    return f"{r['ratio']:.2f} [{r['lo']:.2f}, {r['hi']:.2f}]{level}"


def _percent(v):
    return "" if v is None else f"{100 * v:.0f} %"


def _peers_cell(s):
    parts = []
    for name, r in s["peers"].items():
        rss = f", {r['rss'] / 2**30:.2f} GiB" if r["rss"] else ""
        parts.append(f"{name} ({r['setting']}) {r['ts']:.4g} t/s{rss}")
    parts += [f"{name} {why}" if why.startswith("left out") else f"{name} not measured: {why}" for name, why in s["missing"].items()]
    return "; ".join(parts).replace("|", "/") or "none"


def _row(s):
    figure = figures.BY_NAME[s["figure"]]
    status, bar = figures.verdict(s["figure"], s)
    ratio = f"{_interval(s['best'])} over {s['best_name']}" if s["best"] else "not measured"
    if s["depth"]:
        ratio += f"; {_interval(s['depth'])} of depth 0"
    share_other = s["share_roof"] if s["share_roof"] is not None else s["share_i8"]
    rss = "" if not s["rss"] else f"{s['rss'] / 2**30:.2f} GiB" + ("" if s["rss"] <= s["rss_bar"] else f" (bar {s['rss_bar'] / 2**30:.2f})")
    layout = s["layout"] or "default"
    name = f"{figure.title}, {s['quant'].replace('mlx:', 'MLX ')}"
    if s["layers"]:
        name += f" ({s['layers']} layers)"
    if figure.roof == "copy":
        load, copy = s["load_s"], s["copy_s"]
        return [name, str(s["threads"]), layout, f"{load:.2f} s" if load else "failed",
                f"{copy / load:.2f} times the speed of a plain read ({copy:.2f} s)" if load and copy else "not measured", "", "", rss, "none",
                str(s["n"]), f"{bar}: **{status}**"]
    return [name, str(s["threads"]), layout, f"{s['ts']:.4g}" if s["ts"] else "failed", ratio, _percent(s["share_stream"]),
            _percent(share_other) if share_other is not None else "", rss, _peers_cell(s), str(s["n"]), f"{bar}: **{status}**"]


HEAD = ["figure", "threads", "layout", "ours t/s", "ratio to the best peer [95 %]", "of stream", "of int8 peak (step8: of roof)", "peak RSS",
        "peers", "pairs", "bar"]


def unmeasured(done):
    """Rows of the plain plan that nothing was measured for."""
    rows = []
    for f in figures.FIGURES:
        for quant in f.quants:
            if not any(k[0] == f.name and k[1] == quant for k in done):
                rows.append([f"{f.title}, {quant.replace('mlx:', 'MLX ')}", "", "", "", "", "", "", "", "", "0", "not measured"])
    return rows


def markdown(lines):
    """The table, with a line for each machine that its figures come from."""
    done = groups(lines)
    summaries = [summarise(k, pairs) for k, pairs in done.items()]
    rows = [_row(s) for s in summaries] + unmeasured(done)
    out = [f"Machine: {m}" for m in dict.fromkeys(s["machine"] for s in summaries)]
    builds = dict.fromkeys(pairs[-1]["anemo"] for pairs in done.values())
    out += [f"anemo: {', '.join(builds)}", ""] if builds else [""]
    out += ["| " + " | ".join(HEAD) + " |", "| " + " | ".join("---" for _ in HEAD) + " |"]
    out += ["| " + " | ".join(r) + " |" for r in rows]
    return "\n".join(out)
