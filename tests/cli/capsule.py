#!/usr/bin/env python3
"""results pack and repeat with a fake engine: what a capsule holds and does not, round trip, reproduced and not, another model.
Environment: ANEMO_BUILD."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from program import ROOT, anemo as plain, expect, failures

SECRETS = ("hunter2", "hf_CanaryCanaryCanary", "sk-canary-0123456789")


def anemo(*words, fake="", cwd=None):
    return plain(*words, fake=f"--noise 0.01 {fake}", cwd=cwd)


def test_pack(temp, model):
    done = anemo("compare", model, "-e", "llama.cpp", "-t", "1,2", "-n", 12, "-r", 9, "-q", "--no-bandwidth", "--no-observe", "--tag", "base",
                 "--note", f"see https://me:{SECRETS[0]}@host/x?a=1&token={SECRETS[0]} {SECRETS[1]}", "-p", f"a {SECRETS[2]} b",
                 fake=f"--state {temp}/clock --decode 100 --scaling 0.5")
    expect("the run", done.returncode == 0, done.stderr)
    done = anemo("results", "pack", "base", cwd=temp)
    expect("pack", done.returncode == 0 and done.stdout.endswith(".capsule.json\n"), done.stderr)
    capsule = temp / done.stdout.strip()
    text = capsule.read_text()
    expect("no secrets", not any(s in text for s in SECRETS), text[:3000])
    expect("what is around them stays", "see https://host/x?a=1&token=HIDDEN HIDDEN" in text, text[:3000])
    doc = json.loads(text)
    sha = subprocess.run(["sha256sum", model], capture_output=True, text=True, check=True).stdout.split()[0]
    expect("the model's checksum", doc["models"][0]["sha256"] == sha and doc["models"][0]["bytes"] == model.stat().st_size, str(doc["models"]))
    run = doc["run"]
    expect("the plan", run["workload"]["prompt_ids"] and run["workload"]["seed"] is not None and run["workload"]["settings"])
    expect("every repetition", [len([r for r in c["reps"] if r["kind"] == "timed"]) for c in run["cells"]] == [9, 9])
    expect("the machine", run["environment"]["cpu"] and run["environment"]["date"])
    expect("paths are kept", str(temp) in text)
    bare = anemo("results", "pack", "base", "--no-paths", "-o", "-")
    expect("no paths", bare.returncode == 0 and str(temp) not in bare.stdout and json.loads(bare.stdout)["run"]["models"][0]["path"] == model.name,
           bare.stdout[:2000])
    # A capsule is a file of results as well.
    imported = anemo("results", "import", capsule, "--db", temp / "other.db")
    expect("import of a capsule", imported.returncode == 0 and run["id"] in imported.stdout, imported.stderr)
    return capsule


def test_repeat(temp, capsule):
    good = f"--state {temp}/clock --decode 100 --scaling 0.5"
    done = anemo("repeat", capsule, "-q", "--tag", "again", fake=good)
    expect("reproduced", done.returncode == 0 and done.stdout.startswith("reproduced: ") and done.stdout.count("the same ids") == 2,
           done.stdout + done.stderr)
    again = json.loads(anemo("results", "export", "again").stdout)
    parent = json.loads(capsule.read_text())["run"]["id"]
    expect("the new run is linked", again["extra"]["parent"] == parent and parent in again["note"], str(again["extra"]))
    old = json.loads(capsule.read_text())["run"]
    expect("the same cells", [c["key"] for c in again["cells"]] == [c["key"] for c in old["cells"]])
    expect("the same order of cells", [[r["order"] for r in c["reps"] if r["kind"] == "timed"] for c in again["cells"]] ==
           [[r["order"] for r in c["reps"] if r["kind"] == "timed"] for c in old["cells"]])

    done = anemo("repeat", capsule, "-q", "--no-store", "--json", fake=good.replace("100", "85"))
    doc = json.loads(done.stdout)
    expect("15 % slower is not reproduced", done.returncode == 7 and not doc["reproduced"] and doc["elsewhere"] >= 2, done.stdout)
    done = anemo("repeat", capsule, "-q", "--no-store", "--margin", 30, fake=good.replace("100", "85"))
    expect("but within 30 %", done.returncode == 0, done.stdout)
    done = anemo("repeat", capsule, "-q", "--no-store", "--json", fake=good + " --diverge 4")
    doc = json.loads(done.stdout)
    expect("other ids", done.returncode == 7 and [i["first_difference"] for i in doc["ids"]] == [4, 4], done.stdout)
    done = anemo("repeat", capsule, "-q", "--no-store", "-r", 1, fake=good)
    expect("one repetition decides nothing", done.returncode == 0 and "not all could be decided" in done.stdout, done.stdout)
    done = anemo("repeat", capsule, "-q", "--no-store", fake=good + " --crash 1")
    expect("a cell that fails", done.returncode == 1, done.stdout + done.stderr)


def test_models(temp, capsule, model):
    moved = temp / "elsewhere"
    moved.mkdir()
    model.rename(moved / model.name)
    done = anemo("repeat", capsule, "-n")
    expect("a model that is gone", done.returncode == 4 and "--model" in done.stderr, done.stderr)
    done = anemo("repeat", capsule, "-n", "--model", f"{model.name}={moved / model.name}")
    expect("a model that is named", done.returncode == 0 and str(moved) in done.stdout, done.stderr)
    folder = pathlib.Path(os.environ["XDG_DATA_HOME"]) / "anemo/models"
    folder.mkdir(parents=True)
    shutil.copy(moved / model.name, folder)
    done = anemo("repeat", capsule, "-n")
    expect("a model in the models folder", done.returncode == 0 and str(folder) in done.stdout, done.stderr)
    data = bytearray((folder / model.name).read_bytes())
    data[-1] ^= 1
    (folder / model.name).write_bytes(data)
    done = anemo("repeat", capsule, "-n")
    expect("another model", done.returncode == 3 and "sha256" in done.stderr and "--allow-different-model" in done.stderr, done.stderr)
    expect("unless allowed", anemo("repeat", capsule, "-n", "--allow-different-model").returncode == 0)
    expect("no such name", anemo("repeat", capsule, "-n", "--model", "x=y").returncode == 2)


def test_bad(temp, capsule):
    good = json.loads(capsule.read_text())

    def refused(what, change, code, text):
        doc = json.loads(json.dumps(good))
        change(doc)
        (temp / "bad.json").write_text(json.dumps(doc))
        done = anemo("repeat", temp / "bad.json", "-n")
        expect(what, done.returncode == code and text in done.stderr, f"{done.returncode} {done.stderr}")

    refused("no schema", lambda d: d.pop("schema"), 3, "is no capsule")
    refused("another schema", lambda d: d.update(schema="anemo.capsule/9"), 3, "anemo.capsule/9")
    refused("no run", lambda d: d.pop("run"), 3, "not an object")
    refused("no models", lambda d: d.pop("models"), 3, '"models"')
    refused("a model less", lambda d: d["models"].clear(), 3, '"models"')
    refused("a checksum", lambda d: d["models"][0].update(sha256="../x"), 3, "sha256")
    refused("no ids", lambda d: d["run"]["workload"].pop("prompt_ids"), 3, "prompt_ids")
    refused("a bad id", lambda d: d["run"]["workload"].update(prompt_ids=[1, -5]), 3, "prompt_ids[1]")
    refused("a huge number", lambda d: d["run"]["workload"].update(n_predict=10**12), 3, "n_predict")
    refused("a type of cache", lambda d: d["run"]["workload"]["settings"].update(kv_type="q2 f16"), 3, "kv_type")
    refused("a budget", lambda d: d["run"]["workload"].update(budget_s=1e300), 3, "budget_s")
    refused("an import", lambda d: d["run"].update(kind="import"), 3, "kind 'import'")
    (temp / "bad.json").write_text(capsule.read_text()[:-100])
    done = anemo("repeat", temp / "bad.json")
    expect("a cut capsule", done.returncode == 3, done.stderr)
    expect("no file", anemo("repeat", temp / "none.json").returncode == 4)
    expect("nothing", anemo("repeat").returncode == 2)


def test_cells(temp, model):
    """Cells that were measured by themselves: anemo's own engine on the tiny model, too fast for a verdict."""
    done = anemo("bench", "-m", model, "-e", "native", "-p", 4, "-n", "2,3", "-t", 1, "-r", 3, "-o", "none", "--tag", "cells")
    expect("bench", done.returncode == 0, done.stderr)
    capsule = temp / "cells.json"
    expect("pack of a bench", anemo("results", "pack", "cells", "-q", "-o", capsule).returncode == 0)
    done = anemo("repeat", capsule, "-q", "--json", "--margin", 100, "--tag", "cells-again")
    expect("repeat of a bench", done.returncode == 0 and json.loads(done.stdout)["undecided"] > 0, done.stdout + done.stderr)
    old, new = (json.loads(anemo("results", "export", tag).stdout) for tag in ("cells", "cells-again"))
    expect("cells, keys, repetitions", [(c["key"], len(c["reps"])) for c in old["cells"]] == [(c["key"], len(c["reps"])) for c in new["cells"]],
           str([(c["key"], len(c["reps"])) for c in new["cells"]]))
    expect("kind and parent", new["kind"] == "bench" and new["extra"]["parent"] == old["id"])
    doc = json.loads(capsule.read_text())
    doc["run"]["cells"][0]["engine"] = "engine-of-tomorrow"
    (temp / "bad.json").write_text(json.dumps(doc))
    done = anemo("repeat", temp / "bad.json", "-n")
    expect("an unknown engine", done.returncode == 3 and "engine-of-tomorrow" in done.stderr, done.stderr)


def ids_of(cell):
    return [r.get("token_ids") for r in cell["reps"] if r["kind"] == "timed"]


def test_sweep(temp, model):
    """A sweep of two blocks with one cell that is too large for memory: order, prompts, repetitions, and what is left out."""
    plan = temp / "plan.ini"
    plan.write_text(f'[sweep]\nengines = native, llama.cpp\nmodels = "{model}"\nthreads = 1,2\nn_prompt = 6\nn_gen = 3\nrepetitions = 2\n'
                    "blocks = 2\ntags = swept\n[exclude]\nengine=llama.cpp threads=2\n[machine]\nprobes = off\n")
    done = anemo("sweep", plan, "-q", fake="--decode 200")
    expect("sweep", done.returncode == 0, done.stderr)
    capsule = temp / "swept.json"
    expect("pack of a sweep", anemo("results", "pack", "swept", "-q", "-o", capsule).returncode == 0)
    expect("the seed is in the plan", json.loads(capsule.read_text())["run"]["workload"]["seed"] > 0)
    done = anemo("repeat", capsule, "-q", "--json", "--margin", 100, "--tag", "swept-again", fake="--decode 200")
    expect("repeat of a sweep", done.returncode == 0 and json.loads(done.stdout)["missing"] == 0, done.stdout + done.stderr)
    old, new = (json.loads(anemo("results", "export", tag).stdout) for tag in ("swept", "swept-again"))
    expect("kind and parent of a sweep", new["kind"] == "sweep" and new["extra"]["parent"] == old["id"])
    expect("keys", [c["key"] for c in old["cells"]] == [c["key"] for c in new["cells"]])
    expect("all timed repetitions", [len(ids_of(c)) for c in new["cells"]] == [4] * 3, str([len(c["reps"]) for c in new["cells"]]))
    expect("one warm-up", all(sum(r["kind"] == "warmup" for r in c["reps"]) == 1 for c in new["cells"]))
    own = [i for i, c in enumerate(old["cells"]) if c["engine"] == "native"]
    expect("the same ids from the same prompt", len(own) == 2 and all(ids_of(old["cells"][i]) == ids_of(new["cells"][i]) for i in own),
           str([(ids_of(old["cells"][i]), ids_of(new["cells"][i])) for i in own]))
    # What was not measured is not measured now either, whatever it was.
    doc = json.loads(capsule.read_text())
    doc["run"]["cells"][own[0]].update(reps=[], status="skipped", reason="does not fit in memory", engine="engine-of-tomorrow")
    (temp / "part.json").write_text(json.dumps(doc))
    done = anemo("repeat", temp / "part.json", "-q", "--json", "--margin", 100, "--tag", "part", fake="--decode 200")
    expect("the rest of a sweep", done.returncode == 0 and json.loads(done.stdout)["missing"] == 0, done.stdout + done.stderr)
    part = json.loads(anemo("results", "export", "part").stdout)["cells"]
    expect("a skipped cell stays so", part[own[0]]["status"] == "skipped" and not part[own[0]]["reps"] and part[own[1]]["status"] == "ok",
           str(part[own[0]]))
    for cell in doc["run"]["cells"]:
        cell.update(reps=[], status="skipped")
    (temp / "part.json").write_text(json.dumps(doc))
    done = anemo("repeat", temp / "part.json")
    expect("nothing to repeat", done.returncode == 3 and "nothing can be repeated" in done.stderr, done.stderr)


def main():
    with tempfile.TemporaryDirectory() as name:
        temp = pathlib.Path(name)
        os.environ |= {"ANEMO_DB": str(temp / "results.db"), "XDG_DATA_HOME": str(temp / "data"), "HF_HOME": str(temp / "hf"),
                       "HF_HUB_OFFLINE": "1"}
        model = temp / "tiny.gguf"
        model.write_bytes((ROOT / "fuzz/corpus/gguf/tiny_q4_1").read_bytes())
        capsule = test_pack(temp, model)
        test_repeat(temp, capsule)
        test_bad(temp, capsule)
        test_cells(temp, model)
        test_sweep(temp, model)
        test_models(temp, capsule, model)
    sys.exit(len(failures) > 0)


main()
