#!/usr/bin/env python3
"""Compares Evenkeel with Debian's tgt, and forwarded with local reads, in interleaved rounds.

The client is the same for all: `evenkeel bench`, one session with a fixed number of open requests; libiscsi's
`iscsi-perf` cross-checks it. In each round every row is measured for each of its columns, one right after the other, and
the ratio of a row is the median of the ratios of its rounds. Exit code 1 if a row misses what is required.
"""

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

from bench_profile import profile
from bench_servers import Evenkeel, Failed, Tgt, run, wrapped

MIB = 1 << 20
# Extents of a run are placed together: a volume of this size has one owner.
RUN_BYTES = 256 * MIB


# The same where both have two copies: what a write costs that goes to another server.
PROTECTED_COPIES = tuple(f"copies-{mode}" for mode in ("encrypted", "plain"))
# Two copies against one, in RAM and on disk.
COPIES = ("copies", "disk-copies")
# How servers that show certificates can talk to each other: values of `--peer-data`.
PROTECTED = ("encrypted", "plain")


class Row:
    """One comparison: what is asked of the first column's server and of the second's."""

    def __init__(self, name, section, op, size, depth, pattern, required, goal, cpu=False, inverse=False):
        self.name, self.section, self.op, self.size, self.depth = name, section, op, size, depth
        self.pattern, self.required, self.goal = pattern, required, goal
        # Whether CPU time for each I/O is judged too, and whether the ratio must not exceed what is required.
        self.cpu, self.inverse = cpu, inverse
        self.rounds = []

    def words(self):
        return ["--op", self.op, "--size", f"{self.size}B", "--depth", str(self.depth), "--pattern", self.pattern]


def rows():
    def both(section, size, depth, pattern, words, read, write, cpu=False):
        for op, limits in (("read", read), ("write", write)):
            if limits:
                yield Row(f"{section} {op} {words}", section, op, size, depth, pattern, *limits, cpu=cpu)

    yield from both("ram", 4096, 1, "random", "4KiB QD1", (1.0, 1.2), (1.0, 1.0))
    yield from both("ram", 4096, 32, "random", "4KiB QD32", (1.0, 1.3), (1.0, 1.0), cpu=True)
    yield from both("ram", 64 << 10, 8, "sequential", "64KiB sequential QD8", (1.0, 1.0), (1.0, 1.0))
    yield from both("ram", MIB, 4, "sequential", "1MiB sequential QD4", (1.0, 1.0), (1.0, 1.0))
    yield from both("disk", 4096, 1, "random", "4KiB QD1", (1.0, 1.2), (1.2, 1.5))
    yield from both("disk", 4096, 32, "random", "4KiB QD32", None, (1.2, 1.5))
    yield Row("uncached read 4KiB QD1", "uncached", "read", 4096, 1, "random", None, None)
    yield Row("forward read 4KiB QD1", "forward", "read", 4096, 1, "random", 2.0, 1.6, inverse=True)
    yield Row("forward read 4KiB QD32", "forward", "read", 4096, 32, "random", None, None)
    for mode in PROTECTED:
        yield Row(f"{mode} read 4KiB QD1", mode, "read", 4096, 1, "random", None, None)
        yield Row(f"{mode} read 4KiB QD32", mode, "read", 4096, 32, "random", None, None)
        yield Row(f"{mode} read 64KiB QD8", mode, "read", 64 << 10, 8, "random", None, None)
    # At QD1 the ratio of the rates is that of the mean latencies. In RAM a write costs next to nothing at one server, so
    # that the way to the other one is nearly all there is.
    for section, goal in zip(COPIES, (None, 1.6)):
        yield Row(f"{section} write 4KiB QD1", section, "write", 4096, 1, "random", None, goal, inverse=True)
        yield Row(f"{section} write 4KiB QD32", section, "write", 4096, 32, "random", None, None)
    for section in PROTECTED_COPIES:
        yield Row(f"{section} write 4KiB QD1", section, "write", 4096, 1, "random", None, None)
        yield Row(f"{section} write 4KiB QD32", section, "write", 4096, 32, "random", None, None)


COLUMNS = {
    "ram": ("evenkeel, store on tmpfs", "tgt, file on tmpfs"),
    "disk": (
        "evenkeel, store on disk, writes durable, read cache larger than the volume",
        "tgt, file on disk: reads from the page cache, which holds all of it, writes with sync",
    ),
    "uncached": ("evenkeel, store on disk, read cache off", "tgt, file on disk: reads from the page cache"),
    "forward": ("read at the owner's portal", "read through another server's portal"),
    "encrypted": ("read through another server, no certificates", "the same in TLS records (peer.data = encrypted)"),
    "plain": ("read through another server, no certificates", "the same in plain records with tags (peer.data = plain)"),
    "copies": ("a volume with one copy, in RAM", "a volume with two copies, at two servers"),
    "disk-copies": ("a volume with one copy, on disk", "a volume with two copies, at two servers, on the same disk"),
    "copies-encrypted": ("two copies, no certificates", "the same in TLS records (peer.data = encrypted)"),
    "copies-plain": ("two copies, no certificates", "the same in plain records with tags (peer.data = plain)"),
}


class Side:
    """A column of a section: a server, where its volume is for an operation, and the CPUs of the client."""

    def __init__(self, server, url, client_cpus):
        self.server, self.url, self.client_cpus = server, url, client_cpus


def bench(options, side, op, words, more=()):
    url = side.url(op)
    command = [options.client, "bench", "--target", url, *words, *more, "-o", "json"]
    return json.loads(run(wrapped(side.client_cpus, options.nice, command), f"evenkeel bench {url}"))


def fill(options, side):
    bench(options, side, "read", ["--op", "write", "--size", "1MiB", "--depth", "4"], ["--one-pass"])


def measure(options, side, row):
    """One column of one row in one round."""
    process = side.server.process
    user, system, switches = process.usage()
    took = ["--seconds", str(options.seconds)]
    found = bench(options, side, row.op, row.words(), took)
    user_after, system_after, switches_after = process.usage()
    ops = max(found["ops_in_all"], 1)
    found["server_user_us"] = (user_after - user) * 1e6 / ops
    found["server_system_us"] = (system_after - system) * 1e6 / ops
    found["server_cpu_us"] = found["server_user_us"] + found["server_system_us"]
    found["server_switches"] = (switches_after - switches) / ops
    if found["depth_reached"] < row.depth:
        raise Failed(f"{row.name}: the target lets only {found['depth_reached']} requests be open")
    return found


def sections(options, folders, stack):
    """Starts the servers of each section that is wanted, and fills their volumes."""
    wanted = {row.section for row in options.rows}
    found = {}

    def evenkeel(folder, binary=options.binary, volume=options.volume, cpus=options.server_cpus, **more):
        server = Evenkeel(binary, folder, volume, cpus=cpus, nice=options.nice, **more)
        stack.append(server)
        return server

    def side_of(server, number=1, client_cpus=options.client_cpus):
        return Side(server, lambda op: server.url(number), client_cpus)

    def tgt(folder, targets):
        server = Tgt(folder, targets=targets, cpus=options.server_cpus, nice=options.nice)
        stack.append(server)
        return server

    def backing(folder):
        path = os.path.join(folder, "tgt.img")
        with open(path, "wb") as f:
            f.truncate(options.volume)
        return path

    if "ram" in wanted:
        ours = side_of(evenkeel(os.path.join(folders["ram"], "evenkeel")))
        path = backing(folders["ram"])
        peer = tgt(os.path.join(folders["ram"], "tgt"), [("ram", path, ())])
        found["ram"] = [ours, Side(peer, lambda op: peer.url("ram"), options.client_cpus)]
        if options.before:
            before = evenkeel(os.path.join(folders["ram"], "before"), binary=options.before)
            found["ram"].append(side_of(before))
    if wanted & {"disk", "uncached"}:
        path = backing(folders["disk"])
        disk_peer = tgt(
            os.path.join(folders["disk"], "tgt"), [("file", path, ()), ("sync", path, ("--bsoflags", "sync"))]
        )
        names = {"read": "file", "write": "sync"}
        peer_side = Side(disk_peer, lambda op: disk_peer.url(names[op]), options.client_cpus)
        # tgt's page cache holds its whole file; a column shows what is without a cache that holds the whole volume.
        caches = {"disk": f"{options.volume + options.volume // 8}B", "uncached": "0"}
        for section in sorted(wanted & set(caches)):
            flags = ["--read-cache", caches[section], *options.disk_flags]
            folder = os.path.join(folders["disk"], f"evenkeel-{section}")
            found[section] = [side_of(evenkeel(folder, flags=flags)), peer_side]
        if options.before:
            before = side_of(
                evenkeel(os.path.join(folders["disk"], "before"), binary=options.before, flags=options.disk_flags)
            )
            for section in sorted(wanted & set(caches)):
                found[section].append(before)
    if "forward" in wanted:
        found["forward"] = forward_sides(options, evenkeel, side_of, os.path.join(folders["ram"], "forward"))
        if options.before:
            folder = os.path.join(folders["ram"], "forward-before")
            found["forward"].append(forward_sides(options, evenkeel, side_of, folder, options.before)[1])
    if wanted & set(PROTECTED):
        bare = forward_sides(options, evenkeel, side_of, os.path.join(folders["ram"], "unprotected"))[1]
        for mode in sorted(wanted & set(PROTECTED)):
            folder = os.path.join(folders["ram"], mode)
            more = dict(secured=True, flags=["--peer-data", mode])
            found[mode] = [bare, forward_sides(options, evenkeel, side_of, folder, **more)[1]]
    if wanted & {*COPIES, *PROTECTED_COPIES}:
        def with_copies(name, replicas, where="ram", **more):
            folder = os.path.join(folders[where], name)
            return forward_sides(options, evenkeel, side_of, folder, replicas=replicas, **more)[0]

        if wanted & {"copies", *PROTECTED_COPIES}:
            two = with_copies("two-copies", 2)
        if "copies" in wanted:
            found["copies"] = [with_copies("one-copy", 1), two]
            if options.before:
                found["copies"].append(with_copies("two-copies-before", 2, binary=options.before))
        for section in sorted(wanted & set(PROTECTED_COPIES)):
            mode = section.removeprefix("copies-")
            found[section] = [two, with_copies(section, 2, secured=True, flags=["--peer-data", mode])]
        if "disk-copies" in wanted:
            more = dict(where="disk", flags=options.disk_flags)
            found["disk-copies"] = [with_copies("one-copy", 1, **more), with_copies("two-copies", 2, **more)]
            if options.before:
                found["disk-copies"].append(with_copies("two-copies-before", 2, binary=options.before, **more))
    filled = set()
    for section, sides in found.items():
        for side in sides:
            if id(side.server) not in filled:
                filled.add(id(side.server))
                fill(options, side)
    if "disk" in found:
        # Both caches hold what was written: the page cache by the writes, ours once it was read.
        for side in found["disk"][:2]:
            once = ["--op", "read", "--size", "4KiB", "--depth", "32"]
            bench(options, side, "read", once, ["--one-pass"])
    return found


def forward_sides(options, evenkeel, side_of, folder, binary=None, **more):
    """A process with two servers, each a thread, and a volume that one of them owns.

    With the client they are three that are at work at the same time, as on three machines. Pinned to one CPU the work of
    both servers would add up, and where there are fewer CPUs than three none can have one of its own: so they share all.
    """
    cpus = options.pair_cpus
    group = evenkeel(folder, binary=binary or options.binary, volume=RUN_BYTES, servers=2, cpus=cpus, **more)
    owners = set(group.owners())
    if len(owners) != 1:
        raise Failed(f"the volume for forwarded reads is owned by {', '.join(sorted(owners))}, not by one server")
    (owner,) = owners
    other = {"s1": "s2", "s2": "s1"}[owner]
    number = {"s1": 1, "s2": 2}
    return [side_of(group, number[name], options.pair_cpus) for name in (owner, other)]


def cross_check(options, side, row):
    """The same read by a client of others: requests per second as `iscsi-perf` counts them."""
    command = ["iscsi-perf", "-r", "-m", str(row.depth), "-b", str(row.size // 512)]
    command += ["-t", str(max(1, round(options.seconds))), side.url(row.op)]
    said = run(wrapped(side.client_cpus, options.nice, command), "iscsi-perf")
    averages = re.findall(r"iops average (\d+)", said)
    if not averages:
        raise Failed("iscsi-perf printed no average")
    return int(averages[-1])


def rounds(options, found):
    checked = [row for row in options.rows if row.section == "ram" and row.op == "read" and row.size == 4096]
    checks = {row.name: [] for row in checked}
    for number in range(options.rounds):
        for row in options.rows:
            sides = list(enumerate(found[row.section]))
            if number % 2 == 1:
                sides.reverse()
            row.rounds.append([result for _, result in sorted(
                ((at, measure(options, side, row)) for at, side in sides), key=lambda pair: pair[0]
            )])
        if options.cross_check:
            for row in checked:
                checks[row.name].append([cross_check(options, side, row) for side in found["ram"][:2]])
        print(f"round {number + 1} of {options.rounds} done", file=sys.stderr, flush=True)
    return checks if options.cross_check else {}


def median(row, column, key):
    return statistics.median(results[column][key] for results in row.rounds)


def ratios(row, column=1, key="iops"):
    """First column by another, round by round."""
    return [results[0][key] / max(results[column][key], 1e-9) for results in row.rounds]


def judge(row):
    """What the row is worth: its ratio, and whether it holds what is required and reaches its goal."""
    ratio = statistics.median(ratios(row))
    cpu = statistics.median(ratios(row, key="server_cpu_us"))
    holds = lambda limit: limit is None or (ratio <= limit if row.inverse else ratio >= limit)
    return dict(
        ratio=ratio,
        ratio_rounds=ratios(row),
        cpu_ratio=cpu,
        required=row.required,
        goal=row.goal,
        holds=holds(row.required) and not (row.cpu and cpu > 1.0),
        reaches_goal=holds(row.goal) and not (row.cpu and cpu > 1.0),
    )


def table(options, judged, checks, profiles):
    lines = []
    for section in dict.fromkeys(row.section for row in options.rows):
        first, second = COLUMNS[section]
        lines += ["", f"{section}: A = {first}; B = {second}", ""]
        head = ["", "A IOPS", "B IOPS", "A:B (rounds)", "A p50", "B p50", "A p99", "B p99", "A CPU", "B CPU", "CPU A:B"]
        if options.before:
            head += ["before", "A:before", "CPU"]
        body = []
        for row in (row for row in options.rows if row.section == section):
            verdict = judged[row.name]
            of = lambda key, column, row=row: median(row, column, key)
            low, high = min(verdict["ratio_rounds"]), max(verdict["ratio_rounds"])
            cells = [row.name.removeprefix(section + " "), f"{of('iops', 0):.0f}", f"{of('iops', 1):.0f}"]
            cells.append(f"{verdict['ratio']:.2f} ({low:.2f}-{high:.2f})")
            cells += [f"{of(key, column):.1f}" for key in ("p50_us", "p99_us", "server_cpu_us") for column in (0, 1)]
            cells.append(f"{verdict['cpu_ratio']:.2f}")
            if options.before:
                gained = statistics.median(ratios(row, 2))
                cells += [f"{of('iops', 2):.0f}", f"{gained:.2f}", f"{of('server_cpu_us', 2):.1f}"]
            cells.append(words_of(row, verdict))
            body.append(cells)
        widths = [max(len(cells[n]) for cells in [head, *body]) for n in range(len(head))]
        for cells in [head, *body]:
            shown = [cells[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:])]
            lines.append("  ".join(shown + cells[len(head):]).rstrip())
    for name, found in checks.items():
        ours, theirs = (statistics.median(pair[n] for pair in found) for n in (0, 1))
        ratio = statistics.median(pair[0] / max(pair[1], 1) for pair in found)
        lines += ["", f"libiscsi's iscsi-perf on {name}: A {ours:.0f}, B {theirs:.0f} IOPS, A:B {ratio:.2f}"]
    for name, text in profiles.items():
        lines += ["", f"profile of {name}, which misses its goal:", *("  " + line for line in text)]
    return "\n".join(lines)


def words_of(row, verdict):
    if row.required is None:
        return ""
    sign = "<=" if row.inverse else ">="
    limits = f"required {sign} {row.required:.1f}"
    if row.goal != row.required:
        limits += f", goal {row.goal:.1f}"
    if row.cpu:
        limits += ", CPU <= 1.0"
    word = "reaches its goal" if verdict["reaches_goal"] else "holds" if verdict["holds"] else "MISSED"
    return f"{word} ({limits})"


def machine(options):
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    cpus = lambda found: ",".join(map(str, found)) if found else "not pinned"
    tgt = subprocess.run(["tgtd", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    ours = subprocess.run([options.binary, "version"], capture_output=True, text=True, check=False).stdout.strip()
    return dict(
        processor=model,
        cpus=os.cpu_count(),
        kernel=platform.release(),
        load_average=os.getloadavg()[0],
        server_cpus=cpus(options.server_cpus),
        client_cpus=cpus(options.client_cpus),
        pair_cpus=cpus(options.pair_cpus),
        nice=options.nice,
        volume_bytes=options.volume,
        rounds=options.rounds,
        seconds=options.seconds,
        evenkeel=ours,
        tgt=tgt,
    )


def cpu_list(text):
    return sorted(int(cpu) for cpu in text.split(",")) if text else []


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--binary", required=True, help="the evenkeel program to measure, also the client")
    add("--client", help="another evenkeel program as client of all columns")
    add("--before", help="another evenkeel program: a third column, of how it was before")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=5.0, help="of each measurement (default: %(default)s)")
    add("--rows", default="", help="only rows with one of these words in their names, for example 'ram read,forward'")
    add("--volume-mib", type=int, default=1024, help="size of the volume, wholly written (default: %(default)s)")
    add("--ram-dir", default="/dev/shm", help="a folder on tmpfs (default: %(default)s)")
    add("--disk-dir", default="target/bench", help="a folder on a disk (default: %(default)s)")
    add("--disk-flags", default="", help="more flags of `evenkeel serve` for the store on disk")
    add("--server-cpus", help="CPUs of the servers (default: the first)")
    add("--client-cpus", help="CPUs of the client (default: the second)")
    add("--pair-cpus", help="CPUs of servers and client where two servers are at work for one request (default: all)")
    add("--nice", type=int, default=0, help="priority of servers and clients alike (default: %(default)s)")
    add("--no-cross-check", dest="cross_check", action="store_false", help="without libiscsi's client")
    add("--no-profile", dest="profile", action="store_false", help="without profiles of rows that miss their goals")
    add("--out", default="target/bench/bench.json", help="where the figures go (default: %(default)s)")
    options = parser.parse_args()
    options.client = options.client or options.binary
    words = [word.strip() for word in options.rows.split(",") if word.strip()]
    options.rows = [row for row in rows() if not words or any(word in row.name for word in words)]
    if options.before:
        # What protection costs is compared within one program.
        options.rows = [row for row in options.rows if row.section not in (*PROTECTED, *PROTECTED_COPIES)]
    if not options.rows:
        parser.error(f"--rows {','.join(words)}: no row has such a name; there are: {', '.join(r.name for r in rows())}")
    if options.rounds < 1 or options.seconds <= 0 or options.volume_mib < 256:
        parser.error("--rounds from 1, --seconds above 0, --volume-mib from 256")
    options.volume = options.volume_mib * MIB
    options.disk_flags = options.disk_flags.split()
    usable = sorted(os.sched_getaffinity(0))
    pins = len(usable) > 1
    options.server_cpus = cpu_list(options.server_cpus) if options.server_cpus else usable[:1] if pins else []
    options.client_cpus = cpu_list(options.client_cpus) if options.client_cpus else usable[1:2] if pins else []
    options.pair_cpus = cpu_list(options.pair_cpus) if options.pair_cpus else usable if pins else []
    return options


def main():
    options = parse()
    about = machine(options)
    print("\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in about.items()), flush=True)
    if options.rounds < 5 or options.seconds < 5:
        print("note: figures to be trusted need 5 rounds of 5 s or more", flush=True)
    os.makedirs(options.disk_dir, exist_ok=True)
    os.makedirs(os.path.dirname(options.out) or ".", exist_ok=True)
    folders = {
        "ram": tempfile.mkdtemp(prefix="evenkeel-bench-", dir=options.ram_dir),
        "disk": tempfile.mkdtemp(prefix="evenkeel-bench-", dir=options.disk_dir),
    }
    stack = []
    try:
        found = sections(options, folders, stack)
        for section, sides in found.items():
            print(f"{section}: the store's disk is {sides[0].server.disk()}", flush=True)
        checks = rounds(options, found)
        judged = {row.name: judge(row) for row in options.rows}
        profiles = {}
        if options.profile:
            for row in options.rows:
                if not judged[row.name]["reaches_goal"]:
                    side = found[row.section][1 if row.section == "forward" else 0]
                    load = [options.client, "bench", "--target", side.url(row.op), *row.words(), "--seconds", "8", "-o", "json"]
                    profiles[row.name] = profile(side.server.process, wrapped(side.client_cpus, options.nice, load))
    finally:
        for server in reversed(stack):
            server.end()
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)
    print(table(options, judged, checks, profiles), flush=True)
    with open(options.out, "w", encoding="utf-8") as f:
        measured = {row.name: dict(judged[row.name], rounds=row.rounds) for row in options.rows}
        json.dump(dict(machine=about, rows=measured, libiscsi=checks, profiles=profiles), f, indent=1)
        f.write("\n")
    missed = [name for name, verdict in judged.items() if not verdict["holds"]]
    print(f"\nfigures of all rounds: {options.out}")
    if missed:
        print(f"bench: missed what is required: {'; '.join(missed)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        print(f"bench: {failure}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
