"""The servers that `bench.py` compares: Evenkeel and tgt, each pinned, each with its volume wholly written."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
READY_WITHIN_S = 60


class Failed(Exception):
    """One line: what failed, on what, and what to do."""


def free_ports(count):
    """Ports of loopback that nobody uses now."""
    held = []
    for _ in range(count):
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        held.append(s)
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def consecutive_ports(count):
    """The first of so many free ports in a row."""
    for _ in range(100):
        (first,) = free_ports(1)
        try:
            for port in range(first, first + count):
                with socket.socket() as s:
                    s.bind(("127.0.0.1", port))
            return first
        except (OSError, OverflowError):
            continue
    raise Failed(f"no {count} free ports in a row on 127.0.0.1")


def wrapped(cpus, nice, command):
    """A command on certain CPUs and with a certain priority."""
    if cpus:
        command = ["taskset", "-c", ",".join(map(str, cpus)), *command]
    if nice:
        command = ["nice", "-n", str(nice), *command]
    return command


def run(command, what, **more):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise Failed(f"{what}: {lines[-1]}")
    return done.stdout


class Process:
    """A server process with a log in its folder."""

    def __init__(self, command, folder, name, cpus, nice):
        self.log_path = os.path.join(folder, f"{name}.log")
        self.log = open(self.log_path, "wb")
        self.process = subprocess.Popen(
            wrapped(cpus, nice, command), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )

    @property
    def pid(self):
        return self.process.pid

    def check(self):
        if self.process.poll() is not None:
            with open(self.log_path, encoding="utf-8", errors="replace") as log:
                lines = log.read().strip().splitlines() or ["it left no word"]
            raise Failed(f"a server ended at once: {lines[-1]}")

    def usage(self):
        """CPU time in user mode and in the kernel so far, in seconds, and voluntary context switches."""
        with open(f"/proc/{self.pid}/stat", encoding="utf-8") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        switches = 0
        for task in os.listdir(f"/proc/{self.pid}/task"):
            try:
                with open(f"/proc/{self.pid}/task/{task}/status", encoding="utf-8") as f:
                    for line in f:
                        if line.startswith("voluntary_ctxt_switches"):
                            switches += int(line.split()[1])
            except FileNotFoundError:
                pass
        return int(fields[11]) / TICKS_PER_SECOND, int(fields[12]) / TICKS_PER_SECOND, switches

    def end(self, gently):
        if gently:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                pass
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()


class Evenkeel:
    """One process with one or more servers, and one volume."""

    def __init__(self, binary, folder, volume, cpus, nice, servers=1, flags=(), secured=False, replicas=1):
        self.binary, self.volume = binary, volume
        os.makedirs(folder)
        data = os.path.join(folder, "data")
        self.shown = ()
        if secured:
            run([binary, "group", "init", "--data", data], "evenkeel group init")
            self.shown = ("--token-file", os.path.join(data, "tls", "api-token"))
        self.portal = consecutive_ports(servers)
        peer = consecutive_ports(servers)
        (api,) = free_ports(1)
        self.api = f"http://127.0.0.1:{api}"
        # Room for the volume twice: whole regions are written to free units, and old ones wait for a checkpoint.
        command = [
            binary, "serve", "--data", data, "--servers", str(servers),
            "--portal", f"127.0.0.1:{self.portal}", "--peer-port", str(peer), "--api", f"127.0.0.1:{api}",
            "--store-size", f"{2 * volume + (1 << 30)}B", "--journal-size", "512MiB",
            "--balance", "false", "--log", "warn", *flags,
        ]
        self.process = Process(command, folder, "evenkeel", cpus, nice)
        try:
            self.wait()
            copies = ("--replicas", str(replicas), "--same-host") if replicas > 1 else ()
            made = self.ask("volume", "create", "bench", "--size", f"{volume}B", "--allow", "any", *copies)
        except Failed:
            self.end()
            raise
        self.iqn = made["iqn"]

    def ask(self, *words):
        return json.loads(run([self.binary, "--api", self.api, *self.shown, *words, "-o", "json"], f"evenkeel {words[0]}"))

    def wait(self):
        for _ in range(READY_WITHIN_S * 10):
            self.process.check()
            waited = subprocess.run(
                [self.binary, "--api", self.api, *self.shown, "wait", "--timeout", "1s"], capture_output=True, check=False
            )
            if waited.returncode == 0:
                return
            time.sleep(0.1)
        raise Failed(f"evenkeel does not serve after {READY_WITHIN_S} s; see {self.process.log_path}")

    def url(self, server=1):
        return f"iscsi://127.0.0.1:{self.portal + server - 1}/{self.iqn}/0"

    def owners(self):
        """The owner of each extent."""
        return [row["owner"] for row in self.ask("route", "bench")["extents"]]

    def disk(self):
        """How its disk is driven."""
        return self.ask("server", "list")["servers"][0]["disk"]

    def end(self):
        self.process.end(gently=True)


class Tgt:
    """One tgtd on loopback with a target for each backing file."""

    def __init__(self, folder, cpus, nice, targets):
        if not shutil.which("tgtd"):
            raise Failed("tgtd is missing: install the package tgt")
        os.makedirs(folder)
        # Each daemon has a control port of its own, so that one that runs already is left alone.
        taken = os.listdir("/var/run/tgtd") if os.path.isdir("/var/run/tgtd") else []
        self.control = next(n for n in range(7, 1000) if f"socket.{n}" not in taken)
        (self.port,) = free_ports(1)
        command = ["tgtd", "-f", "-C", str(self.control), "--iscsi", f"portal=127.0.0.1:{self.port}"]
        self.process = Process(command, folder, "tgtd", cpus, nice)
        try:
            self.wait()
            for number, (name, path, more) in enumerate(targets, 1):
                target = ("--mode", "target", "--tid", str(number))
                unit = ("--mode", "logicalunit", "--tid", str(number), "--lun", "1")
                self.admin("--op", "new", *target, "-T", self.iqn(name))
                self.admin("--op", "new", *unit, "-b", path, *more)
                self.admin("--op", "bind", *target, "-I", "ALL")
        except Failed:
            self.end()
            raise

    def admin(self, *words):
        run(["tgtadm", "-C", str(self.control), "--lld", "iscsi", *words], "tgtadm")

    def wait(self):
        for _ in range(READY_WITHIN_S * 10):
            self.process.check()
            try:
                return self.admin("--op", "show", "--mode", "target")
            except Failed:
                time.sleep(0.1)
        raise Failed(f"tgtd does not answer after {READY_WITHIN_S} s (it needs root); see {self.process.log_path}")

    @staticmethod
    def iqn(name):
        return f"iqn.2026-01.io.evenkeel.bench:{name}"

    def url(self, name):
        return f"iscsi://127.0.0.1:{self.port}/{self.iqn(name)}/1"

    def end(self):
        # It ignores SIGTERM while it has targets.
        self.process.end(gently=False)
        for left in (f"/var/run/tgtd/socket.{self.control}", f"/var/run/tgtd/socket.{self.control}.lock"):
            if os.path.exists(left):
                os.remove(left)
