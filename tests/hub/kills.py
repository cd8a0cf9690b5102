#!/usr/bin/env python3
"""Pulls that are ended in the middle: kills.py kill N (SIGKILL at N random times), kills.py interrupt N (a file of 200 MiB,
Ctrl-C at each N-th part of it). After each end: no wrong blob, at most one unfinished file; each resumption fetches at most
8 MiB again; at last the bytes are right. Environment: ANEMO_BUILD."""
import random
import shutil
import signal
import sys
import threading
import time

import harness
from fake_hub import Bytes, noise

REFETCH_MAX = 8 << 20
RATE = 24_000_000
N_PLACE = 6


def overlap(old, new):
    """Bytes of the intervals in `new` that those in `old` have already; the intervals of each list may overlap."""
    def merged(intervals):
        out = []
        for first, end in sorted(i for i in intervals if i[0] < i[1]):
            if out and first <= out[-1][1]:
                out[-1][1] = max(out[-1][1], end)
            else:
                out.append([first, end])
        return out
    old_merged, new_merged = merged(old), merged(new)
    again = sum(b - a for a, b in new) - sum(b - a for a, b in new_merged)
    return again + sum(max(0, min(b, d) - max(a, c)) for a, b in old_merged for c, d in new_merged)


def intervals(place, repo, begin):
    return [(r.first, r.first + r.sent) for r in place.hub.requests(repo, "cdn", "GET")[begin:]]


class Pulls:
    """One file, pulled until it is whole, ended again and again."""

    def __init__(self, place, content, number):
        self.place = place
        self.repo = place.repo({"model-Q4_K_M.gguf": content}, f"model{number}")
        self.repo.hook = lambda request, answer: setattr(answer, "rate", RATE) if request.kind == "cdn" else None
        self.worst = self.n_end = 0

    def attempt(self, end):
        """One run that `end(process)` may end; true when the file is whole."""
        place, repo = self.place, self.repo
        begin = len(place.hub.requests(repo, "cdn", "GET"))
        old, outside = intervals(place, repo, 0), place.outside()
        process = place.start("pull", repo.name)
        end(process)
        _, err = process.communicate(timeout=60)
        done = process.returncode == 0
        assert done or process.returncode in (-signal.SIGKILL, -signal.SIGINT, 130), f"exit {process.returncode}: {err[-600:]}"
        time.sleep(0.05 if not done else 0)  # the hub notices that nobody reads
        again = overlap(old, intervals(place, repo, begin))
        self.worst = max(self.worst, again)
        assert again <= REFETCH_MAX, f"{again} bytes were fetched again after end {self.n_end}"
        self.n_end += not done
        place.check(outside, done)
        if done:
            place.whole(repo)
        return done


def kill_case(place, content, n, rng, worst):
    done = number = 0
    while done < n:
        pulls = Pulls(place, content, number)
        while not pulls.attempt(lambda p: (time.sleep(rng.random() ** 2 * 0.8), p.kill()) if pulls.n_end + done < n else None):
            pass
        done, number = done + pulls.n_end, number + 1
        worst.append(pulls.worst)
        shutil.rmtree(place.folder(pulls.repo))


def kill(n):
    content, worst = Bytes(b"GGUF" + noise(1, 24_000_000)), []
    share = -(-n // N_PLACE)
    cases = [(f"SIGKILL at {share} random times, place {i}",
              lambda place, i=i: kill_case(place, content, share, random.Random(i), worst)) for i in range(N_PLACE)]
    code = harness.main(N_PLACE, cases)
    print(f"{N_PLACE * share} kills; at most {max(worst, default=0)} bytes were fetched again")
    return code


def interrupt_case(place, n, worst):
    content = Bytes(b"GGUF" + noise(2, (200 << 20) - 4))
    pulls = Pulls(place, content, 0)
    pulls.repo.hook = lambda request, answer: setattr(answer, "rate", 2 * RATE) if request.kind == "cdn" else None
    targets = iter([content.size * k // n for k in range(1, n)])

    def end(process):
        target = next(targets, None)
        while target is not None and process.poll() is None:
            if place.hub.sent(pulls.repo) >= target:
                process.send_signal(signal.SIGINT)
                return
            time.sleep(0.002)
    while not pulls.attempt(end):
        pass
    assert pulls.n_end >= n * 2 // 3, f"only {pulls.n_end} interruptions came in time"
    worst.append(pulls.worst)
    print(f"{pulls.n_end} interruptions, {place.hub.sent(pulls.repo)} bytes sent for {content.size}")


def interrupt(n):
    worst = []
    code = harness.main(1, [(f"200 MiB, Ctrl-C at each of {n} parts", lambda place: interrupt_case(place, n, worst))])
    print(f"at most {max(worst, default=0)} bytes were fetched again")
    return code


if __name__ == "__main__":
    what, count = sys.argv[1], int(sys.argv[2])
    del sys.argv[1:]
    threading.stack_size(256 << 10)
    sys.exit({"kill": kill, "interrupt": interrupt}[what](count))
