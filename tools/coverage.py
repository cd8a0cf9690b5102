#!/usr/bin/env python3
"""How much of the parsers the tests reach: coverage.py BUILD [--missing]. BUILD is a tree of the preset `coverage` whose tests ran.

Fails under 95 % of the lines or 90 % of the branches of the files below. Not counted: lines that ask for memory or answer its
refusal (the torture test, tests/fault/torture.py, goes through each of them), and the branches of assertions, which no input
can take.
--missing prints each line and branch that no test reached.
"""
import gzip
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
PARSERS = [
    "src/arch/hparams.c", "src/arch/hparams_config.c", "src/arch/hparams_gguf.c", "src/arch/hparams_native.c",
    "src/base/json.c", "src/base/utf8.c",
    "src/bench/grammar.c",
    "src/convert/imatrix.c",
    "src/format/gguf.c", "src/format/gguf_get.c", "src/format/json_scan.c", "src/format/name_index.c",
    "src/format/safetensors.c", "src/format/torch.c", "src/format/torch_build.c", "src/format/torch_pickle.c",
    "src/format/torch_zip.c", "src/format/weight_list.c",
    "src/hub/choose.c", "src/hub/listing.c", "src/hub/reference.c",
    "src/net/header.c", "src/net/sse.c",
    "src/os/sysfile.c",
    "src/record/rep.c", "src/record/run_json.c", "src/store/run_file.c",
    "src/store/import.c", "src/store/import_mlx.c", "src/store/import_row.c", "src/store/import_table.c",
    "src/sweep/ini.c", "src/sweep/manifest.c", "src/sweep/plan.c", "src/sweep/rules.c",
    "src/token/load_gguf.c", "src/token/load_hf.c", "src/token/load_spm.c", "src/token/load_tekken.c", "src/token/open.c",
    "src/token/vocab.c",
]
LINES, BRANCHES = 95.0, 90.0
EXEMPT = re.compile(r"AN_ASSERT\(|ERR_NOMEM|out of memory|an_(malloc|calloc|realloc|strdup|strndup|path_join|path_dir)\(|"
                    r"no_memory|an_blob_add\(|an_map_add\(|trie_new_node\(|an_str_check\(")

def gcov_files(build):
    """gcov's records of every object below `build`, merged by source file: {path: {line: (count, [branch counts])}}."""
    merged = {}
    objects = [str(p) for p in pathlib.Path(build).resolve().rglob("*.gcda")]
    with tempfile.TemporaryDirectory() as temp:
        for i in range(0, len(objects), 50):
            subprocess.run(["gcov", "--json-format", "--branch-probabilities", *objects[i:i + 50]], cwd=temp, check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for report in pathlib.Path(temp).glob("*.gcov.json.gz"):
                with gzip.open(report) as f:
                    add_report(merged, json.load(f))
                report.unlink()
    return merged


def add_report(merged, report):
    for file in report["files"]:
        path = pathlib.Path(file["file"])
        if path.is_absolute():
            if ROOT not in path.parents:
                continue
            path = path.relative_to(ROOT)
        lines = merged.setdefault(str(path), {})
        for line in file["lines"]:
            number, branches = line["line_number"], [b["count"] for b in line["branches"] if not b["throw"]]
            count, old = lines.get(number, (0, []))
            if len(old) == len(branches):
                branches = [a + b for a, b in zip(old, branches)]
            elif len(old) > len(branches):
                branches = old
            lines[number] = (count + line["count"], branches)


def measure(path, lines, show):
    """(lines reached, lines, branches reached, branches) of one file."""
    text = (ROOT / path).read_text().splitlines()
    hit_l = n_l = hit_b = n_b = 0
    for number, (count, branches) in sorted(lines.items()):
        source = text[number - 1]
        if EXEMPT.search(source) or (number < len(text) and "ERR_NOMEM" in text[number]):
            continue
        hit_l, n_l = hit_l + (count > 0), n_l + 1
        hit_b, n_b = hit_b + sum(b > 0 for b in branches), n_b + len(branches)
        missed = [i for i, b in enumerate(branches) if b == 0]
        if show and (count == 0 or missed):
            what = "line" if count == 0 else f"branch {missed} of {len(branches)}"
            print(f"{path}:{number}: {what}: {source.strip()}")
    return hit_l, n_l, hit_b, n_b


def main():
    build, show = sys.argv[1], "--missing" in sys.argv[2:]
    merged, total, missing = gcov_files(build), [0] * 4, []
    for path in PARSERS:
        if path not in merged:
            missing.append(path)
            continue
        part = measure(path, merged[path], show)
        total = [a + b for a, b in zip(total, part)]
        print(f"{path:34s} lines {100 * part[0] / max(part[1], 1):5.1f} %  branches {100 * part[2] / max(part[3], 1):5.1f} %")
    if missing:
        print("no coverage of", *missing)
        return 1
    lines, branches = 100 * total[0] / total[1], 100 * total[2] / total[3]
    print(f"parsers: lines {lines:.1f} % of {total[1]} (at least {LINES}), branches {branches:.1f} % of {total[3]} "
          f"(at least {BRANCHES})")
    return 0 if lines >= LINES and branches >= BRANCHES else 1


if __name__ == "__main__":
    sys.exit(main())
