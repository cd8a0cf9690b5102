#!/usr/bin/env python3
"""A sweep on a file system that fills up: a clear stop, a whole database, and the same command goes on once there is room.
Skipped (77) where tmpfs cannot be mounted. Environment: ANEMO_BUILD."""
import pathlib
import subprocess
import sys
import tempfile

from common import Place, cells, check_database


def fill(path, leave):
    """A file that leaves so many bytes free."""
    import os
    fs = os.statvfs(path)
    with open(path / "ballast", "wb") as f:
        f.write(b"\0" * max(0, fs.f_bavail * fs.f_frsize - leave))


def full_in_the_middle(disk, place, leave, complaints):
    """The disk has room for a part: n_gen makes each repetition some kilobytes."""
    place.db = disk / f"{leave}" / "results.db"
    place.db.parent.mkdir()
    place.env["ANEMO_DB"] = str(place.db)
    plan = place.plan(f"p{leave}.ini", threads="1-8", n_prompt="4,8,16", n_gen="400", reps=5, after="disk_reserve = 0MB\n")
    fill(disk, leave)
    child = place.start(plan, "-q")
    out, err = child.communicate(timeout=120)
    if child.returncode != 6 or not any(w in err.lower() for w in ("space", "full")):
        complaints.append(f"{leave} bytes free: exit {child.returncode}, expected 6 and a word about the disk: {err}")
    done = 0
    (disk / "ballast").unlink()
    if place.db.exists():
        complaints += check_database(place, may_be_empty=True)
        done = place.status(plan)["units_done"]
    place.run(plan, "-q")
    if place.logs().count(": ok, ") > 24 + 1:
        complaints.append(f"{leave} bytes free: units were measured twice")
    found = cells(place.db)
    if len(found) != 24 or any(c[:2] != ("ok", 5) for c in found.values()):
        complaints.append(f"{leave} bytes free: not complete afterwards: {found}")
    complaints += check_database(place)
    print(f"{leave} bytes free: stopped after {done} of 24 units: {err.strip()[:160]}")
    return done


def main():
    complaints = []
    with tempfile.TemporaryDirectory() as folder:
        disk = pathlib.Path(folder) / "disk"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], capture_output=True).returncode:
            print("skipped: tmpfs cannot be mounted here")
            return 77
        try:
            place = Place(folder)
            done = [full_in_the_middle(disk, place, leave, complaints) for leave in (20000, 300000, 800000, 1200000)]
            if not any(0 < d < 24 for d in done):
                complaints.append(f"no sweep was stopped in its middle: {done}")
        finally:
            subprocess.run(["umount", disk], check=True)
    for text in complaints:
        print(text)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
