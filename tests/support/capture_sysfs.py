#!/usr/bin/env python3
"""Captures what onecopy reads of a machine's /sys and /proc into one small text file, and unpacks such a file.

    capture_sysfs.py > my-server.txt            this machine (no root needed)
    capture_sysfs.py --root DIR > m.txt         a tree that another tool has saved, e.g. hwloc-gather-topology
    capture_sysfs.py --unpack m.txt DIR         the tree again

Format: a line a file, "path<TAB>content"; \\n, \\t and \\\\ in the content stand for newline, tab and backslash. A path
may hold one list in brackets, cpu[0-3,8], and then stands for one file per number. Lines with # are comments.
Host name and control group names are left out.
"""
import argparse
import collections
import glob
import os
import re
import sys

# What topology, cgroup and doctor read. A name ending in ":a,b" keeps only the lines with these keys.
FILES = [
    "sys/devices/system/cpu/online",
    "sys/devices/system/cpu/cpu[0-9]*/topology/physical_package_id",
    "sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list",
    "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor",
    "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_driver",
    "sys/devices/system/node/online",
    "sys/devices/system/node/node[0-9]*/cpulist",
    "sys/devices/system/node/node[0-9]*/distance",
    "sys/devices/system/node/node[0-9]*/meminfo:MemTotal,MemFree,Active(file),Inactive(file),Dirty,Writeback",
    "sys/kernel/mm/transparent_hugepage/enabled",
    "sys/kernel/mm/transparent_hugepage/defrag",
    "sys/kernel/mm/hugepages/hugepages-[0-9]*kB/nr_hugepages",
    "proc/sys/kernel/numa_balancing",
    "proc/meminfo:MemTotal,MemFree,MemAvailable,Active(file),Inactive(file),Dirty,Writeback",
    "proc/self/status:Cpus_allowed_list,Mems_allowed_list",
    "proc/self/limits:Max locked memory",
]


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read().rstrip("\n\0")
    except OSError:
        return None


def id_list(mask):
    """A cpumap ("00000000,0000000f") as a list ("0-3"), which kernels before 2.6.25 did not have."""
    bits = int(mask.replace(",", ""), 16)
    return ranges([i for i in range(bits.bit_length()) if bits >> i & 1])


def ranges(ids):
    out, ids = [], sorted(ids)
    for i in ids:
        if out and out[-1][1] == i - 1:
            out[-1][1] = i
        else:
            out.append([i, i])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in out)


def expand(text):
    out = []
    for item in text.split(","):
        first, _, last = item.partition("-")
        out += range(int(first), int(last or first) + 1)
    return out


def collect(root):
    """{path: content} of the tree under root."""
    tree = {}
    for entry in FILES:
        pattern, _, keys = entry.partition(":")
        for full in glob.glob(os.path.join(root, pattern)):
            text = read(full)
            if text is None:
                continue
            if keys:
                wanted = "|".join(map(re.escape, keys.split(",")))
                text = "\n".join(l for l in text.split("\n") if re.match(rf"(Node \d+ )?({wanted})[: ]", l))
            tree[os.path.relpath(full, root)] = text
    for mask, name in (("node/node[0-9]*/cpumap", "cpulist"),
                       ("cpu/cpu[0-9]*/topology/thread_siblings", "thread_siblings_list")):
        for full in glob.glob(os.path.join(root, "sys/devices/system", mask)):
            path = os.path.relpath(os.path.join(os.path.dirname(full), name), root)
            if path not in tree and (text := read(full)):
                tree[path] = id_list(text)
    if "sys/devices/system/cpu/online" not in tree:  # before 2.6.26
        found = glob.glob(os.path.join(root, "sys/devices/system/cpu/cpu[0-9]*/topology"))
        tree["sys/devices/system/cpu/online"] = ranges(int(re.search(r"(\d+)/topology$", f).group(1)) for f in found)
    model = re.search(r"^model name\s*:.*$", read(os.path.join(root, "proc/cpuinfo")) or "", re.M)
    if model:
        tree["proc/cpuinfo"] = model.group(0)
    tree.update(collect_cgroup(root))
    return tree


def collect_cgroup(root):
    """The limits of the process's groups, with the groups' names replaced by "group"."""
    tree, lines = {}, []
    wanted = ("memory.max", "cpu.max", "memory.limit_in_bytes", "cpu.cfs_quota_us", "cpu.cfs_period_us")
    for line in (read(os.path.join(root, "proc/self/cgroup")) or "").split("\n"):
        parts = line.split(":", 2)
        if len(parts) != 3 or (parts[1] and not {"memory", "cpu"} & set(parts[1].split(","))):
            continue
        path = [p for p in parts[2].split("/") if p]
        lines.append(f"{parts[0]}:{parts[1]}:/" + "/".join(["group"] * len(path)))
        mounts = [m for m in ("memory", "cpu", parts[1]) if m in parts[1].split(",") or m == parts[1]] or [""]
        if not parts[1]:
            mounts = ["", "unified"]
        for mount in set(mounts):
            for depth in range(len(path) + 1):
                for name in wanted:
                    base = os.path.join("sys/fs/cgroup", mount)
                    text = read(os.path.join(root, base, *path[:depth], name))
                    if text is not None:
                        tree[os.path.join(base, *["group"] * depth, name)] = text
    if lines:
        tree["proc/self/cgroup"] = "\n".join(lines)
    return tree


def dump(tree, out):
    """Writes the tree, files of CPUs that have equal content as one line."""
    groups = collections.defaultdict(list)
    for path, text in tree.items():
        match = re.search(r"/cpu(\d+)/", path)
        key = path if not match else path.replace(match.group(0), "/cpu[]/", 1)
        groups[(key, text)].append(int(match.group(1)) if match else None)

    def natural(group):  # cpu2 before cpu10
        (key, _), ids = group
        parts = re.split(r"(\d+)", key if ids[0] is None else key.replace("[]", str(min(ids))))
        return [int(p) if i % 2 else p for i, p in enumerate(parts)]

    for (key, text), ids in sorted(groups.items(), key=natural):
        if ids[0] is not None:
            key = key.replace("[]", f"[{ranges(ids)}]" if len(ids) > 1 else str(ids[0]))
        text = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
        out.write(f"{key}\t{text}\n")


def unpack(file, folder):
    unescape = {"n": "\n", "t": "\t", "\\": "\\"}
    for line in open(file, encoding="utf-8"):
        if line.startswith("#"):
            continue
        path, _, text = line.rstrip("\n").partition("\t")
        text = re.sub(r"\\(.)", lambda m: unescape[m.group(1)], text)
        match = re.search(r"\[([0-9,-]+)\]", path)
        for p in [path] if not match else [path.replace(match.group(0), str(i), 1) for i in expand(match.group(1))]:
            full = os.path.join(folder, p)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as f:
                f.write(text + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="/", help="tree to capture (default: this machine)")
    parser.add_argument("--unpack", nargs=2, metavar=("FILE", "DIR"))
    args = parser.parse_args()
    if args.unpack:
        unpack(*args.unpack)
    else:
        dump(collect(args.root), sys.stdout)


if __name__ == "__main__":
    main()
