#!/usr/bin/env python3
"""On which NUMA node does the memory of running processes lie, by the kernel's own account?

    tests/scaling/residency.py                 all processes called onecopy: a line each, and their sum
    tests/scaling/residency.py --json --name mpi_check

Reads /proc/PID/numa_maps and asks move_pages(2): no code of onecopy, no libnuma. A process's own node is that of the CPUs it
is pinned to. Kinds of memory: "arenas" are anonymous mappings of which at least half a mebibyte is resident (weights, KV cache,
workspace; huge pages too); "private" is everything that only this process has (arenas, heap, stacks, written data of
libraries); "window" is MPI's shared-memory window as far as this process has touched it, of which an equal part
belongs to each rank; move_pages says where the touched pages of its own part lie. Source: proc(5), Linux Documentation/admin-guide/numa_memory_policy and fs/proc/task_mmu.c.
"""

import argparse
import ctypes
import glob
import json
import os
import re
import sys

PAGE = os.sysconf("SC_PAGE_SIZE")
ARENA_BYTES = 512 << 10
WINDOW = re.compile(r"/osc_(sm|rdma)\.")  # Open MPI's files behind MPI_Win_allocate_shared


def parse_numa_maps(text):
    """A list of mappings: {"start", "policy", "file", "label", "anonymous", "node_bytes": {node: bytes}}.

    N<node>= counts in pages of the mapping's own size for hugetlbfs ("huge"), in base pages for all else, transparent
    huge pages among them.
    """
    mappings = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2:
            continue
        found = {"start": int(words[0], 16), "policy": words[1], "file": "", "label": "", "anonymous": 0,
                 "huge": False, "node_bytes": {}}
        fields, page = {}, PAGE
        for word in words[2:]:
            key, has_value, value = word.partition("=")
            if key == "file":
                found["file"] = value.replace("\\040", " ")
            elif key == "kernelpagesize_kB" and found["huge"]:
                page = int(value) << 10
            elif has_value and value.isdigit():
                fields[key] = int(value)
            elif key == "huge":
                found["huge"] = True
            elif not has_value:
                found["label"] = key  # heap, stack
        found["anonymous"] = fields.get("anon", 0) * page
        found["node_bytes"] = {int(k[1:]): n * page for k, n in fields.items() if re.fullmatch(r"N\d+", k)}
        mappings.append(found)
    return mappings


def parse_ids(text):
    """"0-2,5" -> {0, 1, 2, 5}"""
    ids = set()
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            ids |= set(range(int(first), int(last or first) + 1))
    return ids


def kind(mapping):
    """"arenas", "private" (not an arena), "window" or None: not this process's."""
    if WINDOW.search(mapping["file"]):
        return "window"
    pool = mapping["huge"] and "anon_hugepage" in mapping["file"]
    if not mapping["anonymous"] and not pool:
        return None
    nameless = not mapping["file"] and not mapping["label"]
    resident = sum(mapping["node_bytes"].values())
    return "arenas" if pool or (nameless and resident >= ARENA_BYTES) else "private"


def summary(mappings):
    """Bytes by node of each kind, and the bytes in pages of a pool."""
    kinds = {"arenas": {}, "private": {}, "window": {}}
    for m in mappings:
        k = kind(m)
        for node, count in m["node_bytes"].items() if k else ():
            kinds[k][node] = kinds[k].get(node, 0) + count
            if k == "arenas":
                kinds["private"][node] = kinds["private"].get(node, 0) + count
    pool = sum(sum(m["node_bytes"].values()) for m in mappings if m["huge"])
    return {**kinds, "pool_bytes": pool}


def share(node_bytes, nodes):
    total = sum(node_bytes.values())
    return sum(n for node, n in node_bytes.items() if node in nodes) / total if total else 1.0


def read(path):
    with open(path, errors="replace") as f:
        return f.read()


def nodes_of_cpus(cpus):
    """Nodes of these CPUs; for a node without memory, the nearest that has some."""
    base, nodes = "/sys/devices/system/node", set()
    if not os.path.isdir(base):
        return {0}
    with_memory = parse_ids(read(f"{base}/has_memory"))
    ids = sorted(parse_ids(read(f"{base}/online")))
    for node in ids:
        if cpus & parse_ids(read(f"{base}/node{node}/cpulist")):
            distance = dict(zip(ids, map(int, read(f"{base}/node{node}/distance").split())))
            nodes.add(node if node in with_memory else min(with_memory, key=lambda n: (distance[n], n)))
    return nodes


def nodes_of_pages(pid, addresses):
    """Node of each page that the process has mapped (x86-64: move_pages is system call 279)."""
    status = (ctypes.c_int * len(addresses))()
    pages = (ctypes.c_void_p * len(addresses))(*addresses)
    if ctypes.CDLL(None, use_errno=True).syscall(279, pid, ctypes.c_ulong(len(addresses)), pages, None, status, 0) != 0:
        raise OSError(ctypes.get_errno(), f"move_pages of process {pid}")
    return [node for node in status if node >= 0]


def window_share(pid, mappings, ranks, rank, nodes):
    """(bytes of this rank's part that it has touched, share of them on these nodes) of the window of which this process
    touched most. Pages at the edges of a part, where it may begin a little later than an equal one would, do not count."""
    windows = [m for m in mappings if kind(m) == "window"]
    if not windows:
        return 0, 1.0
    used = max(windows, key=lambda m: sum(m["node_bytes"].values()))
    for line in read(f"/proc/{pid}/maps").splitlines():
        begin, end = (int(n, 16) for n in line.split()[0].split("-"))
        if begin == used["start"]:
            part, edge = (end - begin) // ranks // PAGE * PAGE, 8 * PAGE
            at = begin + rank * part
            found = nodes_of_pages(pid, range(at + edge, at + part - edge, PAGE))
            return len(found) * PAGE, sum(node in nodes for node in found) / max(1, len(found))
    return 0, 1.0


def cpus_of(pid):
    """CPUs of its threads that are pinned to one (workers), or where none is, of its main thread."""
    allowed = [parse_ids(re.search(r"^Cpus_allowed_list:(.*)", read(f"{task}/status"), re.M)[1])
               for task in sorted(glob.glob(f"/proc/{pid}/task/*"), key=lambda t: t != f"/proc/{pid}/task/{pid}")]
    pinned = [cpus for cpus in allowed if len(cpus) == 1]
    return set().union(*pinned) if pinned else allowed[0]


def read_process(pid):
    environ = dict(v.split("=", 1) for v in read(f"/proc/{pid}/environ").split("\0") if "=" in v)
    cpus = cpus_of(pid)
    nodes = nodes_of_cpus(cpus)
    mappings = parse_numa_maps(read(f"/proc/{pid}/numa_maps"))
    found = {"pid": pid, "rank": int(environ.get("OMPI_COMM_WORLD_RANK", 0)), "cpus": sorted(cpus),
             "nodes": sorted(nodes), **summary(mappings)}
    for k in "arenas", "private":
        found[f"{k}_on_node"] = share(found[k], nodes)
    found["window_bytes"], found["window_on_node"] = window_share(
        pid, mappings, int(environ.get("OMPI_COMM_WORLD_SIZE", 1)), found["rank"], nodes)
    return found


def pids_of(name):
    found = []
    for comm in glob.glob("/proc/[0-9]*/comm"):
        try:
            if read(comm).strip() == name:
                found.append(int(comm.split("/")[2]))
        except OSError:
            pass  # it has ended
    return sorted(found)


def read_all(name="onecopy"):
    processes = sorted((read_process(pid) for pid in pids_of(name)), key=lambda p: p["rank"])
    total = {}
    for k in "arenas", "private":
        total[k] = {}
        for p in processes:
            for node, n in p[k].items():
                total[k][node] = total[k].get(node, 0) + n
    return {"processes": processes, "sum": total}


def table(seen):
    mb = lambda node_bytes: " ".join(f"{node}:{n / 1e6:.1f}" for node, n in sorted(node_bytes.items())) or "-"
    lines = ["rank  own node  arenas on it  private on it  window part on it  arenas, MB by node"]
    for p in seen["processes"]:
        lines.append(f"{p['rank']:4}  {','.join(map(str, p['nodes'])):>8}  {p['arenas_on_node']:12.2%}  "
                     f"{p['private_on_node']:13.2%}  {p['window_on_node']:17.2%}  {mb(p['arenas'])}")
    return "\n".join(lines + [f" sum  {' ' * 58}{mb(seen['sum']['arenas'])}"])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--name", default="onecopy", help="name of the processes (default onecopy)")
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    seen = read_all(a.name)
    if not seen["processes"]:
        sys.exit(f"residency: no process is called {a.name}")
    print(json.dumps(seen) if a.json else table(seen))


if __name__ == "__main__":
    main()
