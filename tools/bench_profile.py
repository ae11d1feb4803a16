"""Where a server's time goes under a load: system calls for each I/O, and the hottest functions."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

SYMBOLS_MAX = 16
WATCHED_S = 3


def profile(process, load):
    """Runs a load against a server and watches it; gives lines for people."""
    running = subprocess.Popen(load, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        time.sleep(0.5)
        before = process.usage()
        began = time.monotonic()
        symbols = hottest(process.pid)
        watched = time.monotonic() - began
        after = process.usage()
        calls = system_calls(process.pid)
        said, _ = running.communicate(timeout=60)
    finally:
        if running.poll() is None:
            running.kill()
            running.wait()
    iops = json.loads(said)["iops"]
    user, system, switches = (b - a for a, b in zip(before, after))
    ops = max(iops * watched, 1)
    lines = [
        f"for each I/O: {user * 1e6 / ops:.1f} us in user mode, {system * 1e6 / ops:.1f} us in the kernel, "
        f"{switches / ops:.2f} waits"
    ]
    return lines + calls + symbols


def hottest(pid):
    """Functions by their share of the server's time."""
    if not shutil.which("perf"):
        time.sleep(WATCHED_S)
        return ["(perf is not installed: no functions)"]
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "perf.data")
        record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "4000", "-p", str(pid), "-o", data]
        recorded = subprocess.run([*record, "--", "sleep", str(WATCHED_S)], capture_output=True, check=False)
        if recorded.returncode != 0:
            return ["(perf cannot record here: no functions)"]
        report = ["perf", "report", "-i", data, "--stdio", "--no-children", "--sort", "symbol", "--percent-limit", "1"]
        said = subprocess.run(report, capture_output=True, text=True, check=False).stdout
    lines = [line.strip() for line in said.splitlines() if re.match(r"\s+\d+\.\d+%", line)]
    return [re.sub(r"\s+", " ", line) for line in lines[:SYMBOLS_MAX]]


def system_calls(pid):
    """System calls by name while the load goes on, with how often each was made."""
    if not shutil.which("strace"):
        return ["(strace is not installed: no system calls)"]
    with tempfile.NamedTemporaryFile("r") as out:
        watching = subprocess.Popen(
            ["strace", "-c", "-f", "-p", str(pid), "-o", out.name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(1)
        watching.send_signal(signal.SIGINT)
        watching.wait()
        counted = []
        for line in out.read().splitlines():
            found = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", line)
            if found and found[2] != "total":
                counted.append((int(found[1]), found[2]))
    counted.sort(reverse=True)
    return ["system calls in a second of tracing: " + ", ".join(f"{name} {count}" for count, name in counted[:6])]
