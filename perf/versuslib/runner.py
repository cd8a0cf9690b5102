"""What is measured in which order: screening of the peers' settings, then pairs, each written down as soon as it is over."""
import itertools
import json
import os
import random
import re
import shutil
import sys
import time

from . import figures, stats, table
from .engine import AnemoError
from .peers import PeerError, Test, setting_text

# Bits of a weight, about, for the estimate of time.
BITS = {"Q4_0": 4.5, "Q4_K_M": 4.8, "Q5_K_M": 5.7, "Q6_K": 6.6, "Q8_0": 8.5, "IQ4_XS": 4.3, "Q4_1": 5.0, "IQ4_NL": 4.5, "mlx:4bit-g64": 4.5,
        "mlx:4bit-g32": 5.0, "mlx:4bit-g128": 4.25, "mlx:5bit-g64": 5.5, "mlx:6bit-g64": 6.5, "mlx:8bit-g64": 8.5, "mlx:8bit-g32": 9.0}
SMOL_BYTES, SMOL_OPS = 97e6, 0.21e9
FULL_BYTES_PER_BIT, FULL_OPS, FULL_LAYERS = 0.906e9, 14e9, 32


def machine_facts():
    """{text, isa}: the processor's name and the instruction sets that matter here, as the system tells."""
    name, flags, family = "unknown processor", "", ""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            text = f.read()
        names = re.search(r"^model name\s*:\s*(.*)$", text, re.M)
        name = names.group(1) if names else name
        flags = (re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.M) or [None, ""])[1]
        found = [re.search(rf"^{w}\s*:\s*(\d+)$", text, re.M) for w in ("cpu family", "model")]
        family = f" (family {found[0].group(1)} model {found[1].group(1)})" if all(found) else ""
    except OSError:
        pass
    wanted = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm")
    isa = [f for f in wanted if f in flags.split()]
    guest = ", guest" if "hypervisor" in flags.split() else ""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return {"text": f"{name}{family}, {len(os.sched_getaffinity(0))} CPUs{guest}, {memory:.0f} GiB; {' '.join(isa)}", "isa": isa}


class Runner:
    """One run of perf/versus. `args` are the command line's, `peers` and `peers_avx2` lists of Peer."""

    def __init__(self, args, engine, models, peers, peers_avx2):
        self.args, self.engine, self.models = args, engine, models
        self.peers, self.peers_avx2 = peers, peers_avx2
        self.machine, self.draw = machine_facts(), random.Random(args.seed)
        self.build = "/".join([engine.identity, *(p.identity() for p in (*peers, *peers_avx2))])
        self.begin, self.lines, self.pieces = time.monotonic(), table.read_lines(args.out), 0
        self.with_layout = set()    # models whose file in the layout cache this run has seen

    # What is to be done.

    def plan(self):
        """[(quant, [figure])], the models in an order that makes each once."""
        chosen = {}
        for f in figures.FIGURES:
            if f.name not in self.args.rows or (f.rival == "peers-avx2" and not self.peers_avx2):
                continue
            every = dict.fromkeys((*f.quants, *figures.EXTRA_QUANTS.get(f.name, ())))
            quants = f.quants if not self.args.quants else [q for q in every if q in self.args.quants]
            for q in quants:
                chosen.setdefault(q, []).append(f)
        return sorted(chosen.items(), key=lambda item: item[0] in (figures.SMOL, figures.SMOL_MLX))

    def rivals(self, figure):
        """Peers of a figure that are there."""
        return [p for p in self.group(figure) if not p.absent and p.can(figure.test)]

    def group(self, figure):
        """Peers that a figure is about, whether they are there or not."""
        group = {"peers": self.peers, "peers-avx2": self.peers_avx2}.get(figure.rival, [])
        return [p for p in group if not figure.only or p.name.split(" #")[0] == figure.only] or group

    def n_pair(self, figure):
        return self.args.pairs.get(figure.name, self.args.pairs.get("", figure.pairs))

    def threads(self, figure):
        return figure.threads or self.args.threads

    def done(self, figure, quant, layout):
        key = (self.build, figure.name, quant, self.threads(figure), self.models.layers if quant in BITS else 0, layout or "")
        return sum(1 for line in self.lines if line.get("kind") == "pair" and table.key_of(line) == key)

    def estimate(self, plan, peaks, stream_bps):
        """Seconds, roughly: peers are taken to reach 0.4 of the int8 peak and half of the bandwidth, ours 0.6 and 0.7."""
        total = 0.0
        for quant, figs in plan:
            small = quant not in BITS
            part = 1 if small or not self.models.layers else self.models.layers / FULL_LAYERS
            size = SMOL_BYTES if small else FULL_BYTES_PER_BIT * BITS[quant] * part
            ops = SMOL_OPS if small else FULL_OPS * part
            total += 0 if small or os.path.exists(self.models.path(quant)) else size / 1e9

            def one(test, share_ops, share_bytes):
                prompt_s = (test.n_prompt + test.depth) * ops / (share_ops * peaks["i8_ops"])
                return prompt_s + test.n_gen * size / (share_bytes * stream_bps)

            for f in figs:
                n_peer, factor = len(self.rivals(f)), 1.6 if self.threads(f) == 1 else 1
                load = 0.3 + size / 1e9
                if not any(self.done(f, quant, lay) for lay in self.layouts(f)):
                    total += n_peer * 3 * (load + factor * sum(one(t, 0.4, 0.5) for t in f.screen) / self.args.screen_part)
                theirs = load + factor * (1 if f.test.depth else f.repetitions) * sum(one(t, 0.4, 0.5) for t in (f.test, *f.warm))
                ours = 0.3 + factor * (1 if f.test.depth else f.repetitions + 1) * one(f.test, 0.6, 0.7) + sum(one(t, 0.6, 0.7) for t in f.ours_too)
                other = {"mlx": 40.0, "peers": 0, "peers-avx2": 0, "": 0}.get(f.rival, ours)
                samples = (1 + n_peer) * ((0.6 if f.roof != "stream" else 0) + (0.3 + 5 * size / stream_bps if f.roof != "i8" else 0))
                n_more = sum(max(self.n_pair(f) - self.done(f, quant, lay), 0) for lay in self.layouts(f))
                total += n_more * (n_peer * theirs + samples + other + ours)
        return total

    # Keeping and telling.

    def keep(self, line):
        self.lines.append(line)
        with open(self.args.out, "a", encoding="utf-8") as f:
            f.write(json.dumps(line) + "\n")

    def tell(self, text):
        print(f"[{(time.monotonic() - self.begin) / 60:5.1f} min] {text}", file=sys.stderr, flush=True)

    def over(self):
        late = self.args.budget and time.monotonic() - self.begin > 60 * self.args.budget
        return late or 0 < self.args.pieces <= self.pieces

    def layouts(self, figure):
        return figure.layouts or self.args.layouts

    # Screening.

    def _kept_choice(self, peer, figure, quant):
        for line in reversed(self.lines):
            if line.get("kind") == "screen" and (line["peer_id"], line["figure"], line["quant"], line["threads"], line["layers"]) == \
                    (peer.identity(), figure.name, quant, self.threads(figure), self.models.layers):
                return line
        return None

    def _candidates(self, peer):
        """Settings that are tried: all first choices, then each other value alone; with --settings all every combination."""
        axes = peer.settings(self.args.tries)
        every = [tuple((n, f, v) for (n, f, _), v in zip(axes, values)) for values in itertools.product(*(a[2] for a in axes))]
        if self.args.settings == "first":
            return every[:1]
        if self.args.settings == "all":
            return every
        return [c for c in every if sum(a != b for a, b in zip(c, every[0])) <= 1]

    def _shorter(self, test):
        """The screening's test: a part of the prompt, the same number of steps."""
        part = self.args.screen_part if test.n_prompt > 64 else 1
        return Test(max(test.n_prompt // part, 32) if test.n_prompt > 64 else test.n_prompt, test.n_gen, test.depth)

    def screen(self, peer, figs, quant, model):
        """{figure name: (setting, "", tokens/s) or (None, why, None)}: figures that differ in tests alone share their processes."""
        chosen, groups = {}, {}
        for f in figs:
            kept = self._kept_choice(peer, f, quant)
            if kept:
                chosen[f.name] = (tuple(map(tuple, kept["setting"])) if kept["setting"] is not None else None, kept["why"], kept["ts"])
            else:
                groups.setdefault((self.threads(f), f.test.depth > 0), []).append(f)
        for (threads, _), members in groups.items():
            tried = {f.name: [] for f in members}
            tests = {f.name: self._shorter(f.screen[0]) for f in members}
            for setting in self._candidates(peer):
                self.tell(f"{quant}: screening {peer.name} with {setting_text(setting)} for {', '.join(tried)}")
                try:
                    speeds, _, _ = peer.measure(model, list(dict.fromkeys(tests.values())), threads, 1, setting, self.args.timeout,
                                                warmup=not any(t.n_prompt or t.depth for t in tests.values()))
                    for f in members:
                        tried[f.name].append({"setting": setting, "ts": speeds[tests[f.name]]})
                except PeerError as e:
                    for f in members:
                        tried[f.name].append({"setting": setting, "ts": None, "why": str(e)})
            for f in members:
                good = [t for t in tried[f.name] if t["ts"]]
                best = max(good, key=lambda t: t["ts"]) if good else None
                why = "" if best else tried[f.name][0]["why"]
                chosen[f.name] = (best["setting"], why, best["ts"]) if best else (None, why, None)
                self.keep({"kind": "screen", "peer": peer.name, "peer_id": peer.identity(), "figure": f.name, "quant": quant,
                           "threads": threads, "layers": self.models.layers, "setting": best["setting"] if best else None,
                           "ts": best["ts"] if best else None, "why": why, "tried": tried[f.name]})
                how = f"is best with {setting_text(best['setting'])}" if best else f"failed: {why}"
                self.tell(f"{quant} {f.name}: {peer.name} {how}")
        self.pieces += bool(groups)
        return chosen

    # Pairs.

    def _ours(self, figure, model, layout):
        tests = [figure.test, *figure.ours_too]
        speeds, rss, _, more = self.engine.measure(model, tests, self.threads(figure), figure.repetitions, layout=layout or None,
                                                   isa=figure.isa or None, ubatch=figure.ubatch or None)
        base = {"base_ts": speeds[figure.ours_too[0]]} if figure.ours_too else {}
        if figure.roof == "copy" and more["load_s"] is None:
            raise AnemoError(f"{model}: its load was neither cold nor warm: a part of it is in the page cache, or it does not fit")
        return {"ts": speeds[figure.test], "rss": rss, **more, **base}

    def _theirs(self, peer, figure, model, setting):
        tests = [*figure.warm, figure.test]
        speeds, rss, _ = peer.measure(model, list(dict.fromkeys(tests)), self.threads(figure), figure.repetitions, setting,
                                      self.args.timeout, warmup=not figure.warm and not figure.test.depth, ubatch=figure.ubatch or None)
        return {"ts": speeds[figure.test], "rss": rss, "setting": setting_text(setting)}

    def _other(self, figure, model):
        """A contestant that is no peer: our engine on another model, or the mlx driver."""
        threads = self.threads(figure)
        if figure.rival == "mlx":
            speeds, rss, _, more = self.engine.measure(model, [figure.test], threads, 1, engine="mlx")
            return {"ts": speeds[figure.test], "rss": rss, "setting": f"compute {more['compute']}"}
        other = self.models.get(figure.rival.split(":", 1)[1])
        speeds, rss, _, _ = self.engine.measure(other, [figure.test], threads, figure.repetitions)
        return {"ts": speeds[figure.test], "rss": rss, "setting": "native"}

    def _sample(self, figure, facts, pages, line):
        threads = self.threads(figure)
        if figure.roof == "copy":
            if figure.cold:
                drop_from_cache(facts.files)
            line["copy_s"].append(copy_seconds(facts.files))
            if figure.cold:
                drop_from_cache(facts.files)
        if figure.roof in ("stream", "both"):
            line["stream"].append(self.engine.stream(facts, threads, pages)["stream_bps"])
        if figure.roof in ("i8", "both"):
            peaks = self.engine.peaks(threads)
            line["i8_ops"].append(peaks["i8_ops"])
            if peaks.get("bf16_tile_ops"):
                line["bf16_tile_ops"].append(peaks["bf16_tile_ops"])

    def pair(self, figure, quant, model, facts, layout, settings):
        """Everyone once, in an order that is drawn, with a sample of the roof before the first and after each."""
        if layout == "cached" and model not in self.with_layout:
            self.with_layout.add(model)
            self.engine.measure(model, [Test(n_gen=1)], self.threads(figure), 1, layout=layout)
        contestants = {"ours": lambda: self._ours(figure, model, layout)}
        missing = {p.name: p.absent or f"it has no flag for {figure.title}" for p in self.group(figure)
                   if p.absent or not p.can(figure.test)}
        leader = max((settings[p.name][figure.name][2] or 0 for p in self.rivals(figure)), default=0)
        for peer in self.rivals(figure):
            setting, why, ts = settings[peer.name][figure.name]
            if setting is None:
                missing[peer.name] = why
            elif ts < (1 - self.args.runner_up / 100) * leader:
                missing[peer.name] = f"left out: {ts:.4g} t/s in the screening, where the best peer had {leader:.4g}"
            else:
                contestants[peer.name] = lambda p=peer, s=setting: self._theirs(p, figure, model, s)
        if figure.rival == "mlx" or figure.rival.startswith("native:"):
            contestants["mlx driver" if figure.rival == "mlx" else f"native {figure.rival[7:]}"] = lambda: self._other(figure, model)
        order = list(contestants)
        self.draw.shuffle(order)
        kv = facts.kv_bytes
        line = {"kind": "pair", "build": self.build, "anemo": f"{' '.join(self.engine.version)} ({self.engine.identity})",
                "machine": self.machine, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "figure": figure.name,
                "quant": quant, "threads": self.threads(figure), "isa": figure.isa, "layout": layout or "",
                "layers": self.models.layers if quant in BITS else 0, "runs": {}, "missing": missing,
                "stream": [], "i8_ops": [], "bf16_tile_ops": [], "copy_s": [], "step_bytes": facts.step_bytes, "prompt_ops": facts.prompt_ops,
                "n_prompt": figure.test.n_prompt, "file_bytes": facts.file_bytes,
                "kv_read_bytes": kv * (figure.test.depth + figure.test.n_gen // 2),
                "kv_bytes": kv * (figure.test.depth + figure.test.n_gen + figure.test.n_prompt)}
        pages = self.args.pages or ("huge" if (layout or self.args.default_layout) == "repacked" else "file")
        self._sample(figure, facts, pages, line)
        for name in list(order):
            try:
                line["runs"][name] = contestants[name]()
            except PeerError as e:
                missing[name] = str(e)
            except AnemoError as e:
                if name == "ours":
                    raise
                missing[name] = str(e)
            self._sample(figure, facts, pages, line)
        line["order"] = order
        self.keep(line)
        self.pieces += 1
        share = table._stream_share(line)
        what = f"{quant} {figure.name}{' ' + layout if layout else ''}: "
        if figure.roof == "copy":
            self.tell(what + f"{line['runs']['ours']['load_s']:.2f} s; copying the files {line['copy_s'][0]:.2f} and {line['copy_s'][-1]:.2f} s")
            return
        speeds = ", ".join(f"{n} {r['ts']:.4g}" for n, r in line["runs"].items())
        self.tell(what + f"{speeds} t/s" + (f"; {100 * share:.0f} % of stream" if share else ""))

    def _model_of(self, quant, figs):
        """Path, or None with the reason told."""
        if quant in (figures.SMOL, figures.SMOL_MLX):
            path = self.args.smollm2 if quant == figures.SMOL else self.args.smollm2_mlx
            if os.path.exists(path):
                return path
            self.tell(f"{quant}: not measured, no {path} (./quickstart brings it)")
            return None
        also = [f.rival.split(":", 1)[1] for f in figs if f.rival.startswith("native:")]
        for other in also:
            self.models.get(other)
        return self.models.get(quant, also)

    def run(self, plan):
        """Until everything of the plan is there, or the budget is used up."""
        for quant, figs in plan:
            figs = [f for f in figs if any(self.done(f, quant, lay) < self.n_pair(f) for lay in self.layouts(f))]
            if not figs or self.over():
                continue
            model = self._model_of(quant, figs)
            if model is None:
                continue
            facts = self.engine.facts(model)
            settings = {}
            for peer in dict.fromkeys(p for f in figs for p in self.rivals(f)):
                if self.over():
                    return
                settings[peer.name] = self.screen(peer, [f for f in figs if peer in self.rivals(f)], quant, model)
            for figure in figs:
                n_more = {lay: self.n_pair(figure) - self.done(figure, quant, lay) for lay in self.layouts(figure)}
                for i in range(max(n_more.values())):
                    for layout in self.layouts(figure):
                        if i < n_more[layout] and not self.over():
                            self.pair(figure, quant, model, facts, layout, settings)
            if all(self.done(f, quant, lay) >= self.n_pair(f) for f in figs for lay in self.layouts(f)):
                shutil.rmtree(self.engine.layout_cache, ignore_errors=True)


def copy_seconds(files):
    """How long a plain read of the files takes, in pieces of 4 MiB into one buffer: what dd or cat would take."""
    begin, buffer = time.monotonic(), bytearray(4 << 20)
    for path in files:
        with open(path, "rb", buffering=0) as f:
            while f.readinto(buffer):
                pass
    return time.monotonic() - begin


def drop_from_cache(files):
    """The files' pages leave the page cache."""
    for path in files:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fdatasync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


def quick_stream(engine, threads):
    """A bandwidth for the estimate: a quarter of a gigabyte."""
    class Part:
        files, file_bytes = [], 1 << 28
    return engine.stream(Part, threads, "huge")["stream_bps"]
