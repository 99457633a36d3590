#!/usr/bin/env python3
"""How fast a model is loaded, cold and warm, beside what this machine can do in the same run. Prints Markdown.

    tests/support/make_synthetic_moe.py /data/moe.gguf --layers 10
    tests/scaling/load_bench.py /data/moe.gguf --rounds 5
    tests/scaling/load_bench.py /data/moe.gguf --ranks 2 --threads 1

Cold: the file is dropped from the page cache (posix_fadvise), and beside each load the same file is read with direct
I/O by fio (1 MiB, 8 in flight) or, where there is no fio, dd (4 MiB, one after the other). Warm: the file is read into the
page cache, and beside each load as many bytes are copied by as many threads as load, once to memory fresh from the kernel,
which a load has to take too, and once to memory that the process had before, which is the machine's limit for any copy.
Rounds alternate, so that a load and what it is held against see the same machine; ratios are medians over rounds. A
speed is the file's bytes by the seconds of the slowest rank (`load_seconds` of --report).

A virtual machine with a balloon gives free memory back to its host, and taking it again costs ten times what zeroing does.
So before every measurement, of loads and of copies alike, as much memory as it takes is taken and freed.
"""

import argparse
import ctypes
import json
import mmap
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PIECE = 4 << 20
POSIX_FADV_DONTNEED, MADV_HUGEPAGE = 4, 14


def drop(path):
    with open(path, "rb") as f:
        os.fsync(f.fileno())  # a dirty page stays
        os.posix_fadvise(f.fileno(), 0, 0, POSIX_FADV_DONTNEED)


def warm(path):
    with open(path, "rb", buffering=0) as f:
        buffer = bytearray(PIECE)
        while f.readinto(buffer):
            pass


def cached_bytes(path):
    """Of the file in the page cache, by mincore(2)."""
    size = os.path.getsize(path)
    with open(path, "rb") as f, mmap.mmap(f.fileno(), size, prot=mmap.PROT_READ) as m:
        libc = ctypes.CDLL(None, use_errno=True)
        pages = (ctypes.c_ubyte * (-(-size // mmap.PAGESIZE)))()
        # No ctypes buffer on a read-only mapping: its address is taken from /proc.
        with open("/proc/self/maps") as maps:
            start = next(int(line.split("-")[0], 16) for line in maps if line.rstrip().endswith(os.path.abspath(path)))
        if libc.mincore(ctypes.c_void_p(start), ctypes.c_size_t(size), pages) != 0:
            raise OSError(ctypes.get_errno(), "mincore")
        return mmap.PAGESIZE * sum(page & 1 for page in pages)


def direct_read_rate(path):
    """Bytes per second of direct reads of the whole file, and by what."""
    if shutil.which("fio"):
        out = subprocess.run(["fio", "--name=read", f"--filename={path}", "--readonly", "--rw=read", "--direct=1",
                              "--bs=1M", "--iodepth=8", "--ioengine=libaio", "--output-format=json"],
                             check=True, capture_output=True, text=True).stdout
        return json.loads(out[out.index("{"):])["jobs"][0]["read"]["bw_bytes"], "fio"
    start = time.perf_counter()
    subprocess.run(["dd", f"if={path}", "of=/dev/null", "bs=4M", "iflag=direct"], check=True, capture_output=True)
    return os.path.getsize(path) / (time.perf_counter() - start), "dd"


def anonymous(size):
    m = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    m.madvise(MADV_HUGEPAGE)
    return m


def in_child(body):
    """body() in a process of its own, whose memory is gone after, and is in no peak of ours or of our children."""
    sys.stdout.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, json.dumps(body()).encode())
            os._exit(0)
        except BaseException as error:
            print(f"load_bench: {error!r}", file=sys.stderr)
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as f:
        text = f.read()
    if os.waitpid(child, 0)[1] != 0:
        sys.exit("load_bench: a measurement failed; are some times the size of the model free?")
    return json.loads(text)


def take(size):
    memory = anonymous(size)
    ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(memory)), 1, size)


def copy_rates(size, threads):
    """Bytes per second that `threads` threads copy, to fresh memory and to memory that is there already."""
    source = anonymous(1 << 30)  # more than a last-level cache
    libc = ctypes.CDLL(None)
    address = lambda m: ctypes.addressof(ctypes.c_char.from_buffer(m))
    ctypes.memset(address(source), 1, len(source))
    take(size)
    target = anonymous(size)
    rates = []
    for _ in range(2):
        next_piece = iter(range(0, size, PIECE))
        lock = threading.Lock()

        def work(to=address(target), start=address(source), wrap=len(source)):
            while True:
                with lock:
                    at = next(next_piece, None)
                if at is None:
                    return
                # ctypes lets go of the interpreter during the call.
                libc.memcpy(ctypes.c_void_p(to + at), ctypes.c_void_p(start + at % wrap),
                            ctypes.c_size_t(min(PIECE, size - at)))

        start = time.perf_counter()
        team = [threading.Thread(target=work) for _ in range(threads)]
        for t in team:
            t.start()
        for t in team:
            t.join()
        rates.append(size / (time.perf_counter() - start))
    return rates


def load(a):
    """One load of the model: dict of rate, bytes read, and bytes that each rank took beyond its shard."""
    in_child(lambda: take(int(1.1 * os.path.getsize(a.model))))
    with tempfile.TemporaryDirectory() as folder:
        report = f"{folder}/report.json"
        command = [a.launcher, "-n", str(a.ranks), "--threads", str(a.threads), "generate", "-m", a.model, "--tokens",
                   "1,2,3", "-n", "1", "--temp", "0", "--report", report]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"load_bench: {' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
        with open(report) as f:
            ranks = json.load(f)["ranks"]
    read = sum(r["bytes_read"] for r in ranks)
    return {"rate": read / max(r["load_seconds"] for r in ranks), "read": read,
            "beyond": max(r["peak_bytes"] - r["weight_bytes"] - r["replicated_bytes"] - r["kv_bytes"] for r in ranks),
            "peak": max(r["peak_bytes"] for r in ranks), "shard": max(r["weight_bytes"] for r in ranks),
            "tokens": done.stdout, "cached": cached_bytes(a.model)}


def measure(a):
    rounds = []
    for i in range(a.rounds):
        row = {}
        row["direct"], row["tool"] = direct_read_rate(a.model)
        drop(a.model)
        row["cold"] = load(a)
        row["direct"] = max(row["direct"], direct_read_rate(a.model)[0])
        row["fresh"], row["there"] = in_child(lambda: copy_rates(os.path.getsize(a.model),
                                                                  a.ranks * a.threads))
        warm(a.model)
        row["warm"] = load(a)
        print(f"round {i + 1}: cold {row['cold']['rate'] / 1e9:.2f} GB/s, warm {row['warm']['rate'] / 1e9:.2f} GB/s",
              file=sys.stderr)
        rounds.append(row)
    return rounds


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} - {max(values):.2f})"


def table(a, rounds):
    """Markdown of what measure returned."""
    rate = lambda get: spread([get(r) / 1e9 for r in rounds])
    ratio = lambda top, bottom: spread([top(r) / bottom(r) for r in rounds])
    cold, hot = (lambda r: r["cold"]["rate"]), (lambda r: r["warm"]["rate"])
    direct, fresh, there = (lambda r: r["direct"]), (lambda r: r["fresh"]), (lambda r: r["there"])
    last = rounds[-1]
    lines = [f"{os.path.basename(a.model)}, {os.path.getsize(a.model) / 1e9:.2f} GB, ranks {a.ranks}, "
             f"threads {a.threads} each; medians (least - most) of {len(rounds)} rounds",
             "", "| | GB/s | load beside it |", "|---|---|---|",
             f"| load, not in the page cache | {rate(cold)} | |",
             f"| direct reads ({last['tool']}) | {rate(direct)} | {ratio(cold, direct)} |",
             f"| load, in the page cache | {rate(hot)} | |",
             f"| copy to fresh memory | {rate(fresh)} | {ratio(hot, fresh)} |",
             f"| copy to memory that was there | {rate(there)} | {ratio(hot, there)} |", ""]
    for name in ("cold", "warm"):
        row = last[name]
        lines.append(f"{name}: read {row['read'] / os.path.getsize(a.model):.3f} of the file; largest rank: shard "
                     f"{row['shard'] / 1e6:.0f} MB, peak {row['peak'] / 1e6:.0f} MB, beyond weights, replicated and KV "
                     f"{row['beyond'] / 1e6:.0f} MB; left in the page cache {row['cached'] / 1e6:.1f} MB")
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", help="a GGUF file of at least 3 GB, on the storage to be measured")
    p.add_argument("--ranks", type=int, default=1)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each rank")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--launcher", default=os.path.join(ROOT, "launch/onecopy"))
    a = p.parse_args()
    if os.path.getsize(a.model) < 3e9:
        print("load_bench: a small file says little; 3 GB or more are meant", file=sys.stderr)
    print(table(a, measure(a)))


if __name__ == "__main__":
    main()
