"""Running other programs: one at a time, with a time limit, their peak memory kept."""
import dataclasses
import os
import signal
import subprocess
import tempfile
import threading
import time


@dataclasses.dataclass
class Done:
    """How a program ended. `reason` is empty when it ended well."""
    out: str
    reason: str
    rss_peak_bytes: int
    seconds: float


def _last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it printed nothing"


def _how_it_ended(raw, late, timeout_s, err):
    if late:
        return f"no end within {timeout_s:g} s"
    code = os.waitstatus_to_exitcode(raw)
    if code == 0:
        return ""
    how = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
    return f"{how}: {_last_line(err)}"


def run(argv, timeout_s=900.0, env=None):
    """
    Runs argv to its end, or kills its whole process group at the limit. Peak memory is that of the largest process of it, as the
    system counts it when the program is waited for.
    """
    begin, late = time.monotonic(), threading.Event()
    with tempfile.TemporaryFile("w+", errors="replace") as out, tempfile.TemporaryFile("w+", errors="replace") as err:
        try:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
                                     env=os.environ | (env or {}))
        except OSError as e:
            return Done("", f"cannot be started: {e.strerror}", 0, 0.0)

        def stop():
            late.set()
            os.killpg(child.pid, signal.SIGKILL)

        timer = threading.Timer(timeout_s, stop)
        timer.start()
        try:
            _, raw, usage = os.wait4(child.pid, 0)
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
        finally:
            timer.cancel()
        child.returncode = os.waitstatus_to_exitcode(raw)
        out.seek(0)
        err.seek(0)
        # Linux counts kilobytes, macOS bytes.
        unit = 1 if os.uname().sysname == "Darwin" else 1024
        return Done(out.read(), _how_it_ended(raw, late.is_set(), timeout_s, err.read()), usage.ru_maxrss * unit,
                    time.monotonic() - begin)
