#!/usr/bin/env python3
"""A sweep on a real Slurm: slurm.py N

slurmctld and four virtual nodes run on this machine, in a temporary folder, with ports, a key and a socket of their own; nothing
below /etc is read or changed. An array of N cells is submitted by 'anemo sweep --slurm'; when a fifth of the results is there
one node is lost (its daemon and its task get SIGKILL), and at half the controller is stopped and started again. There must be N
results, each whole and each once, and joining them twice gives each cell once. Skipped (77) without root or Debian's slurm-wlm and
munge. Environment: ANEMO_BUILD.
"""
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from common import ANEMO, Place, cells, check_database

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel")
N_NODE = 4
CONF = """ClusterName=anemotest
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
SlurmdTimeout=10
SlurmctldTimeout=30
KillWait=5
MaxArraySize=10001
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=5,requeue_delay=1
{nodes}
PartitionName=test Nodes=n[1-{n_node}] Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Cluster:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.children = {}
        host = socket.gethostname().split(".")[0]
        ports = free_ports(N_NODE + 1)
        nodes = "\n".join(f"NodeName=n{i + 1} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[i + 1]} CPUs=1 State=UNKNOWN"
                          for i in range(N_NODE))
        for name in ("state", *(f"spool.n{i + 1}" for i in range(N_NODE))):
            (self.folder / name).mkdir()
        conf = self.folder / "slurm.conf"
        conf.write_text(CONF.format(host=host, ports=ports, folder=self.folder, nodes=nodes, n_node=N_NODE))
        self.env = dict(os.environ, SLURM_CONF=str(conf), PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
        for name in [k for k in self.env if k.startswith(("SLURM_", "SBATCH_")) and k != "SLURM_CONF"]:
            del self.env[name]

    def start_munge(self):
        """Its folder, key and process belong to the package's own user: munged refuses what others could change."""
        user = pwd.getpwnam("munge")
        home = self.folder / "munge"
        home.mkdir()
        (home / "key").write_bytes(os.urandom(1024))
        (home / "key").chmod(0o600)
        for path in (home, home / "key"):
            os.chown(path, user.pw_uid, user.pw_gid)
        self.spawn("munged", ["--foreground", "--force", f"--key-file={home}/key", f"--socket={home}/socket", f"--pid-file={home}/pid",
                              f"--log-file={home}/log", f"--seed-file={home}/seed"], user="munge", group="munge", extra_groups=[])
        wait_for(lambda: (home / "socket").exists(), 10, "munged's socket")

    def spawn(self, name, words, key=None, **more):
        log = open(self.folder / f"{key or name}.out", "ab")
        self.children[key or name] = subprocess.Popen([name, *words], env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                      start_new_session=True, **more)

    def start_controller(self):
        self.spawn("slurmctld", ["-D"])

    def start_node(self, i):
        self.spawn("slurmd", ["-D", "-N", f"n{i}"], key=f"n{i}")

    def ask(self, *words):
        return subprocess.run(words, env=self.env, capture_output=True, text=True, timeout=60)

    def up(self):
        return self.ask("scontrol", "show", "nodes").stdout.count("State=IDLE") == N_NODE

    def restart_controller(self):
        self.children["slurmctld"].terminate()
        self.children["slurmctld"].wait(30)
        self.start_controller()

    def tasks_of(self, node):
        """(pid, parent) of the processes that a task of this cluster's node runs now."""
        mine = {f"SLURMD_NODENAME={node}".encode(), f"SLURM_CONF={self.env['SLURM_CONF']}".encode()}
        found = []
        for proc in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if mine <= set((proc / "environ").read_bytes().split(b"\0")):
                    found.append((int(proc.name), int((proc / "stat").read_text().rpartition(")")[2].split()[1])))
            except (OSError, IndexError):
                pass
        return found

    def crash_node(self, i):
        """What a loss of power does: daemon, step manager and task are gone in the middle of a cell, nobody tells the controller."""
        wait_for(lambda: self.tasks_of(f"n{i}"), 30, f"a task on n{i}")
        self.children[f"n{i}"].kill()
        self.children[f"n{i}"].wait(30)
        tasks = self.tasks_of(f"n{i}")
        for pid, parent in tasks:
            try:
                if pathlib.Path(f"/proc/{parent}/comm").read_text().startswith("slurmstepd"):
                    os.kill(parent, signal.SIGKILL)
            except OSError:
                pass
        for pid, _ in tasks:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass

    def stop(self):
        self.ask("scancel", "--user=root")
        for child in reversed(self.children.values()):
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait(10)

    def logs(self):
        out = ""
        for path in sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out"), *self.folder.glob("munge/log")]):
            out += f"==> {path.name}\n" + "".join(path.read_text(errors="replace").splitlines(True)[-25:])
        return out


def wait_for(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def check_results(place, plan, out, n, complaints):
    files = sorted(out.glob("*.json"))
    if len(files) != n:
        complaints.append(f"{len(files)} result files of {n}")
    keys = set()
    for f in files:
        doc = json.loads(f.read_text())
        keys.add(doc["cells"][0]["key"])
        if len(doc["cells"]) != 1 or doc["cells"][0]["status"] != "ok":
            complaints.append(f"{f.name}: {doc['cells'][0]['status']}: {doc['cells'][0]['reason']}")
    if len(keys) != len(files):
        complaints.append(f"{len(keys)} different cells in {len(files)} files")
    status = place.status(plan, "--out", out)
    if status["units_done"] != n or status["ok"] != n:
        complaints.append(f"--status: {status}")
    for _ in range(2):
        done = subprocess.run([ANEMO, "results", "merge", *map(str, files)], env=place.env, capture_output=True, text=True)
        if done.returncode:
            complaints.append(f"results merge: {done.stderr}")
            return
        found = cells(place.db)
        if len(found) != n or any(c[:2] != ("ok", 1) for c in found.values()):
            complaints.append(f"joined: {len(found)} cells of {n}, or doubled repetitions")
    complaints += check_database(place)


def run(folder, n):
    complaints = []
    cluster, place = Cluster(folder), Place(folder)
    out = place.folder / "shared dir"
    # A task takes nearly as long as a round of the scheduler, so that the lost node has one under way.
    driver = place.folder / "echo-driver.sh"
    driver.write_text(driver.read_text().replace("loaded=1;", "loaded=1; sleep 0.3;"))
    plan = place.plan(threads="1-2", n_prompt=f"1-{n // 2}", n_gen="2", reps=1)
    try:
        cluster.start_munge()
        cluster.start_controller()
        for i in range(1, N_NODE + 1):
            cluster.start_node(i)
        wait_for(cluster.up, 60, "the nodes")
        begin = time.monotonic()
        place.env |= {k: cluster.env[k] for k in ("SLURM_CONF", "PATH")}
        submitted = place.run(plan, "--slurm", "--out", out, "--partition", "test", "-q").stdout.split()
        assert submitted[:3] == ["submitted", "as", "job"], submitted
        n_done = lambda: len(list(out.glob("*.json")))  # noqa: E731
        wait_for(lambda: n_done() >= n // 5, 60, "a fifth of the results")
        cluster.crash_node(2)
        wait_for(lambda: n_done() >= n // 2, 90, "half of the results")
        cluster.restart_controller()
        wait_for(lambda: n_done() == n, 120, "all results")
        # Requeued twins may still be under way; they must not add anything.
        wait_for(lambda: not cluster.ask("squeue", "--noheader", "--states=all", "--format=%T").stdout.replace("COMPLETED", "").strip(), 60,
                 "the end of all tasks")
        seconds = time.monotonic() - begin
        requeued = (cluster.folder / "slurmctld.log").read_text().count("Requeuing")
        check_results(place, plan, out, n, complaints)
        if seconds > 90:
            complaints.append(f"{seconds:.0f} s, more than 90")
        print(f"{n_done()} results of {n} cells in {seconds:.0f} s, {requeued} requeued, one node killed, controller restarted once")
    except (AssertionError, subprocess.TimeoutExpired) as e:
        complaints.append(f"{e}\n{cluster.ask('squeue').stdout}{cluster.ask('scontrol', 'show', 'nodes').stdout}{cluster.logs()}")
    finally:
        cluster.stop()
    return complaints


def main():
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [p for p in PROGRAMS if not shutil.which(p, path=path)]
    if os.geteuid() != 0 or missing:
        print(f"skipped: needs root and slurm-wlm with munge; missing: {' '.join(missing) or 'root'}")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        complaints = run(folder, int(sys.argv[1]))
    for text in complaints:
        print(text)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
