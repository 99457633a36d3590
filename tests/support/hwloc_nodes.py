#!/usr/bin/env python3
"""Prints the NUMA nodes that hwloc sees in a saved tree, as the expectation of the topology tests.

    hwloc_nodes.py DIR > tests/data/sysfs/NAME.hwloc        (Debian package hwloc)

A line a node: id, memory in bytes, CPUs. For a node without CPUs hwloc gives those of the nearest object around it.
"""
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

from capture_sysfs import id_list


def main():
    env = dict(os.environ, HWLOC_FSROOT=sys.argv[1], HWLOC_THISSYSTEM="0", HWLOC_COMPONENTS="linux,stop",
               HWLOC_KEEP_NVIDIA_GPU_NUMA_NODES="1")
    xml = subprocess.run(["lstopo-no-graphics", "--of", "xml", "--disallowed", "-"], env=env, check=True,
                         stdout=subprocess.PIPE).stdout
    nodes = [o for o in ElementTree.fromstring(xml).iter("object") if o.get("type") == "NUMANode"]
    for node in sorted(nodes, key=lambda o: int(o.get("os_index"))):
        mask = ",".join(word[2:].zfill(8) for word in node.get("cpuset").split(","))
        print(node.get("os_index"), node.get("local_memory", "0"), id_list(mask))


if __name__ == "__main__":
    main()
