#!/usr/bin/env python3
"""anemo doctor for real: its JSON against the table in docs/doctor.md in both directions, its text, its exit codes.

Environment: ANEMO_BUILD.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
ANEMO = pathlib.Path(os.environ["ANEMO_BUILD"]) / "anemo"
TYPES = {"string": str, "object": dict, "array": list, "boolean": bool, "number": (int, float), "integer": int, "null": type(None)}
TINY = str(ROOT / "fuzz/corpus/gguf/tiny_q4_1")
failures = []


def check(condition, text):
    if not condition:
        failures.append(text)


def documented():
    """{key: (types, optional)} of the last table of docs/doctor.md."""
    text = (ROOT / "docs/doctor.md").read_text().split("## The JSON object")[1]
    table = {}
    for key, types in re.findall(r"^\| `([^`]+)` \| ((?:[a-z, ]|\\\|)+) \|", text, re.M):
        optional = types.endswith(", optional")
        table[key] = (types.removesuffix(", optional").split("\\|"), optional)
    return table


def walk(value, path, table, seen):
    """Compare a value and what lies in it with the table."""
    if path:
        if path not in table:
            failures.append(f"{path} is not in docs/doctor.md")
            return
        seen.add(path)
        good = any(isinstance(value, TYPES[t]) and not (isinstance(value, bool) and t != "boolean") for t in table[path][0])
        check(good, f"{path} is {value!r}, documented as {table[path][0]}")
    if isinstance(value, dict) and path not in ("kernels.serving",):
        for key, inner in value.items():
            walk(inner, f"{path}.{key}" if path else key, table, seen)
        wanted = [k for k, (_, optional) in table.items() if not optional and k.rpartition(".")[0] == path and not k.endswith("[]")]
        for key in wanted:
            check(key.rpartition(".")[2] in value, f"{key} is documented and not there")
    if isinstance(value, list) and any(k.startswith(f"{path}[].") for k in table):
        for inner in value:
            walk(inner, f"{path}[]", {**table, f"{path}[]": (["object"], False)}, seen)


def run(*args, **env):
    return subprocess.run([ANEMO, "doctor", *args], capture_output=True, text=True, timeout=300, env={**os.environ, **env})


def main():
    table = documented()
    check(len(table) > 60, f"only {len(table)} keys were found in docs/doctor.md")
    with tempfile.TemporaryDirectory() as home:
        env = {"HOME": home, "XDG_DATA_HOME": home + "/data", "XDG_CACHE_HOME": home + "/cache", "ANEMO_ENGINES": home + "/none"}
        full = run(TINY, "--json", "--threads", "2", **env)
        check(full.returncode == 0, f"exit {full.returncode}: {full.stderr}")
        report, seen = json.loads(full.stdout), set()
        walk(report, "", table, seen)
        probes = report["probes"]
        check([p["threads"] for p in probes] == [1, 2], f"threads {[p['threads'] for p in probes]}")
        check(all(1e7 < p["bandwidth_bps"] < 2e12 for p in probes), "bandwidth")
        check(report["noise"]["repetitions"] == 30 and report["noise"]["cv"] >= 0, "noise")
        levels = [f["level"] for f in report["findings"]]
        check(report["fit"] == ("bad" if "bad" in levels else "warn" if "warn" in levels else "ok"), "fit is not the worst level")
        check(len({f["id"] for f in report["findings"]}) == len(levels), "an id occurs twice")
        for finding in report["findings"]:
            check(f"`{finding['id']}`" in (ROOT / "docs/doctor.md").read_text(), f"finding {finding['id']} is not documented")
        statuses = {e["engine"]: e["status"] for e in report["engines"]}
        check(statuses["native"] == "ok" and "missing" in statuses.values(), f"{statuses}")

        quick = run(TINY, "--json", "--quick", **env)
        report = json.loads(quick.stdout)
        walk(report, "", table, seen)
        check(quick.returncode == 0 and report["probes"] == [] and report["noise"] is None, "--quick")

        # A control group, a debug build or a load may make any machine unfit; strict follows the findings.
        strict = run(TINY, "--json", "--quick", "--strict", **env)
        wanted = 7 if json.loads(strict.stdout)["fit"] == "bad" else 0
        check(strict.returncode == wanted, f"--strict: exit {strict.returncode}, expected {wanted}")

        # An engine that does not work counts more than a finding.
        broken = run(TINY, "--quick", "--strict", ANEMO_DRIVER_LLAMA_CPP="bash -c exit", **env)
        check(broken.returncode == 1, f"a failed engine: exit {broken.returncode}")

        text = run(TINY, "--quick", **env)
        check(text.returncode == 0 and re.search(r"^  (Not fit|Fit) to measure", text.stdout, re.M), "no verdict in the text")
        lines = re.findall(r"^  (bad|warn|ok) +[a-z_]+ ", text.stdout, re.M)
        check(lines == sorted(lines, key=["bad", "warn", "ok"].index) and len(lines) > 10, f"order of the findings: {lines}")
    for text in failures:
        print("FAILED:", text)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
