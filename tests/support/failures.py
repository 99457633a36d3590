#!/usr/bin/env python3
"""Prints the failed tests of JUnit files written by ctest --output-junit, each with the end of its output; and of the cases of
programs that ran as one test (files in cases/ beside them) how many were skipped for which reason.

tests/run ends with this, so that the last page of a long log says what failed and why.
"""

import collections
import pathlib
import sys
import xml.etree.ElementTree as ElementTree

SHOWN_LINES = 40


def failures(path):
    """(name, output) of every test of the file that neither passed nor was skipped."""
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            yield case.get("name"), case.findtext("system-out") or ""


def skipped(path):
    """How many cases of a GoogleTest file were skipped, by reason."""
    reasons = collections.Counter()
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        for reason in case.iter("skipped"):
            reasons[reason.get("message", "").splitlines()[-1]] += 1
    return reasons


def main():
    for path in map(pathlib.Path, sys.argv[1:]):
        if not path.exists():
            continue
        for cases in sorted(path.parent.glob("cases/*.xml")):
            for reason, count in skipped(cases).most_common():
                print(f"== skipped: {count} cases of {cases.stem} ({path.parent.name}): {reason}")
        for name, output in failures(path):
            print(f"== failed: {name} ({path.parent.name})")
            print("\n".join(output.splitlines()[-SHOWN_LINES:]))


if __name__ == "__main__":
    main()
