#!/usr/bin/env python3
"""Writes tests/data/sysfs/*.txt for machines that are described rather than captured: see MACHINES.

    synthesize_sysfs.py FOLDER

CPU numbering and distances follow what lscpu and numactl --hardware print on such machines.
"""
import os
import sys

from capture_sysfs import dump, ranges

GIB_KB = 1 << 20

# numbering: "blocked": node 0 has the first cores, all second SMT siblings follow after all cores (AMD, most Intel);
# "interleaved": core i lies on node i mod nodes (Dell and HPE firmware).
MACHINES = {
    "2-node-xeon-6338-interleaved": dict(
        model="Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz", packages=2, nodes_per_package=1, cores_per_node=32,
        numbering="interleaved", node_gib=256, near=20, far=20, governor="powersave", driver="intel_pstate"),
    "8-node-epyc-7763-nps4": dict(
        model="AMD EPYC 7763 64-Core Processor", packages=2, nodes_per_package=4, cores_per_node=16,
        numbering="blocked", node_gib=64, near=12, far=32, governor="ondemand", driver="acpi-cpufreq"),
    "24-node-epyc-9655": dict(
        model="AMD EPYC 9655 96-Core Processor", packages=2, nodes_per_package=12, cores_per_node=8,
        numbering="blocked", node_gib=48, near=11, far=32, governor="performance", driver="amd-pstate-epp"),
}


def machine(m):
    nodes = m["packages"] * m["nodes_per_package"]
    cores = nodes * m["cores_per_node"]
    tree = {}
    on_node = [[] for _ in range(nodes)]
    for core in range(cores):
        node = core // m["cores_per_node"] if m["numbering"] == "blocked" else core % nodes
        for cpu in (core, core + cores):
            on_node[node].append(cpu)
            folder = f"sys/devices/system/cpu/cpu{cpu}"
            tree[f"{folder}/topology/physical_package_id"] = str(node // m["nodes_per_package"])
            tree[f"{folder}/topology/thread_siblings_list"] = f"{core},{core + cores}"
    for node in range(nodes):
        # Of one CPU a node only: tests unpack these trees often, and a thousand files take time.
        folder = f"sys/devices/system/cpu/cpu{on_node[node][0]}/cpufreq"
        tree[f"{folder}/scaling_governor"] = m["governor"]
        tree[f"{folder}/scaling_driver"] = m["driver"]
        folder = f"sys/devices/system/node/node{node}"
        tree[f"{folder}/cpulist"] = ranges(on_node[node])
        # The kernel and firmware take some of node 0; another half a GiB everywhere.
        total = m["node_gib"] * GIB_KB - (3 * GIB_KB if node == 0 else GIB_KB // 2)
        fields = {"MemTotal": total, "MemFree": total - 6 * GIB_KB, "Active(file)": 2 * GIB_KB,
                  "Inactive(file)": 3 * GIB_KB, "Dirty": 512, "Writeback": 0}
        tree[f"{folder}/meminfo"] = "\n".join(f"Node {node} {k + ':':<15} {v:>10} kB" for k, v in fields.items())
        package = node // m["nodes_per_package"]
        tree[f"{folder}/distance"] = " ".join(
            "10" if other == node else str(m["near"] if other // m["nodes_per_package"] == package else m["far"])
            for other in range(nodes))
    total = nodes * m["node_gib"] * GIB_KB - 3 * GIB_KB - (nodes - 1) * GIB_KB // 2
    tree.update({
        "sys/devices/system/cpu/online": f"0-{2 * cores - 1}",
        "sys/devices/system/node/online": f"0-{nodes - 1}",
        "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
        "sys/kernel/mm/transparent_hugepage/defrag": "always defer defer+madvise [madvise] never",
        "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "0",
        "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "0",
        "proc/sys/kernel/numa_balancing": "1",
        "proc/meminfo": f"MemTotal: {total} kB\nMemFree: {total - 6 * nodes * GIB_KB} kB\n"
                        f"MemAvailable: {total - 2 * nodes * GIB_KB} kB",
        "proc/self/status": f"Cpus_allowed_list:\t0-{2 * cores - 1}\nMems_allowed_list:\t0-{nodes - 1}",
        "proc/self/limits": "Max locked memory         unlimited            unlimited            bytes     ",
        "proc/self/cgroup": "0::/user.slice",
        "sys/fs/cgroup/user.slice/memory.max": "max",
        "sys/fs/cgroup/user.slice/cpu.max": "max 100000",
        "proc/cpuinfo": f"model name\t: {m['model']}",
    })
    return tree


def main():
    folder = sys.argv[1]
    for name, description in MACHINES.items():
        with open(os.path.join(folder, name + ".txt"), "w", encoding="utf-8") as out:
            out.write("# Synthetic: tests/support/synthesize_sysfs.py.\n")
            dump(machine(description), out)


if __name__ == "__main__":
    main()
