#!/usr/bin/env python3
"""Pulls over a network that fails at random: random_network.py N [SEED]. Every file of a pull that succeeds has the right
bytes, every other pull ends with exit 5 and a word, and after it the next one may go on. Environment: ANEMO_BUILD."""
import random
import sys
import threading

import harness

FAULT_SHARE = 0.3
STALL_S = 1.5


def fault(rng, answer):
    """One thing that goes wrong with this answer."""
    size = max(1, answer.length())
    kind = rng.choices(("cut", "reset", "nothing", "status", "limit", "whole", "range", "corrupt", "stall", "page", "slow"),
                       (6, 6, 3, 5, 2, 3, 2, 1, 1, 1, 1))[0]
    if kind == "cut":
        answer.cut_after = rng.randrange(size)
    elif kind == "reset":
        answer.reset_after = rng.randrange(size)
    elif kind == "nothing":
        answer.no_answer = True
    elif kind == "status":
        answer.set(rng.choice((408, 500, 502, 503, 504)), "trouble")
    elif kind == "limit":
        answer.set(429, "slow down", Retry_After=rng.choice((0, 1)))
    elif kind == "page":
        answer.set(200, "<html>Please log in</html>", Content_Type="text/html")
    elif kind == "stall":
        answer.stall_after, answer.stall_s = rng.randrange(size), STALL_S
    elif kind == "slow":
        answer.rate = max(20_000, size)
    elif answer.content and kind == "whole":
        answer.whole()
    elif answer.content and kind == "corrupt" and answer.end > answer.start:
        answer.corrupt = rng.randrange(answer.start, answer.end)
    elif answer.content and kind == "range" and answer.status == 206:
        shift = rng.randrange(answer.start + 1)
        answer.start, answer.end = answer.start - shift, answer.end - shift
        if rng.random() < 0.5:
            answer.label(answer.start)


def pull(place, seed, files, codes):
    rng, lock = random.Random(seed), threading.Lock()
    repo = place.repo(files)

    def hook(_, answer):
        with lock:
            if rng.random() < FAULT_SHARE:
                fault(rng, answer)
    repo.hook = hook
    words = {"ANEMO_HUB_RETRY_MS": 10, "HF_HUB_DOWNLOAD_TIMEOUT": 1, "HF_HUB_ETAG_TIMEOUT": 1}
    done = place.pull(repo, expect=(0, 5), **words)
    codes[done.code] = codes.get(done.code, 0) + 1
    if done.code:
        repo.hook = None
        place.pull(repo, **words)
    place.expect_files(repo, [path for path in files if path != "README.md"])


def main():
    n, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    del sys.argv[1:]
    files, codes = harness.hf_files(size=2_500_000), {}
    del files[".gitattributes"]
    small = {"model-Q4_K_M.gguf": harness.gguf(900_000)}
    cases = [(f"pull {i}", lambda place, i=i: pull(place, seed * 1_000_003 + i, files if i % 4 else small, codes))
             for i in range(n)]
    code = harness.main(cases=cases)
    print(f"exit codes of the pulls: {dict(sorted(codes.items()))}")
    return code or (0 if codes.get(0, 0) >= n // 4 else 1)


if __name__ == "__main__":
    sys.exit(main())
