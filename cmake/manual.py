#!/usr/bin/env python3
"""manual.py FRAME PROGRAM VERSION OUT: the manual page from a frame written by hand and the program's own helps; OUT and OUT.gz.

In the frame @VERSION@ is the version, and @COMMANDS@ a sub-section for each command that `PROGRAM --help` lists."""

import gzip
import re
import subprocess
import sys

OPTION = re.compile(r"^  (-\S.*?)(?:\s{2,}(\S.*))?$")


def escaped(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...").replace("'", "\\(aq")
    return "\\&" + text if text.startswith(".") else text


def help_of(program, *words):
    return subprocess.run([program, *words, "--help"], check=True, capture_output=True, text=True).stdout


def commands(text):
    listing = re.split(r"(?im)^subcommands:.*$", text)[1]
    return re.findall(r"(?m)^  ([a-z][a-z-]*) +(.*)$", listing)


def options(text):
    """[(group, names and value, description)], in the order of the help."""
    found, group = [], ""
    for line in text.splitlines():
        line = re.sub(r"^  (-\w), +(--)", r"  \1,\2", line)  # as CLI11 2.4 writes them
        heading = re.match(r"^(\w[\w ]*):$", line)
        if heading:
            group = heading[1].capitalize()
        elif OPTION.match(line) and group != "Examples":
            names, about = OPTION.match(line).groups()
            found.append([group, names, about or ""])
        elif found and line.startswith("          ") and group != "Examples":
            found[-1][2] = (found[-1][2] + " " + line.strip()).strip()
    return found


def names_and_value(text):
    """-m,--model MODEL -> \\fB-m\\fR, \\fB--model\\fR \\fIMODEL\\fR"""
    text = re.sub(r" (Excludes|Needs): .*", "", text)
    text = re.sub(r"\b(TEXT|INT|UINT|FLOAT):(?=\{|\w+ in)", "", text)  # the type where the choice stands beside it
    text = re.sub(r"\b(U?INT|FLOAT) in \[(\S+) - (\S+)\]", r"\2 to \3", text)
    names, _, value = text.partition(" ")
    bold = ", ".join(f"\\fB{escaped(name)}\\fR" for name in names.split(","))
    value = value.replace("=[]", "").replace("[] ", "").replace("[{}] ", "").strip()
    return bold + (f" \\fI{escaped(value)}\\fR" if value else "")


def section(program, name, summary):
    text = help_of(program, name)
    lines = [f".SS {escaped(name)}", escaped(summary[0].upper() + summary[1:]) + "."]
    skipped = {"-h,--help"}
    for group, names, about in options(text):
        if names.split(" ")[0] in skipped or group == "Ranks":
            continue
        lines += [".TP", names_and_value(names), escaped(about[:1].upper() + about[1:]) + "."]
    examples = text.partition("\nExamples:\n")[2].strip("\n").splitlines()
    if examples:
        lines += [".PP", ".nf", ".RS", *[escaped(line.strip().replace("launch/onecopy", "onecopy")) for line in examples], ".RE", ".fi"]
    return lines


def shared(program):
    """The options that every command takes."""
    lines = []
    for group, names, about in options(help_of(program, "doctor")):
        if group == "Ranks":
            lines += [".TP", names_and_value(names), escaped(about[:1].upper() + about[1:]) + "."]
    return lines


def main(frame, program, version, out):
    with open(frame) as file:
        text = file.read()
    sections = [line for command in commands(help_of(program)) for line in section(program, *command)]
    text = text.replace("@VERSION@", version).replace("@COMMANDS@", "\n".join(sections))
    text = text.replace("@SHARED@", "\n".join(shared(program)))
    with open(out, "w") as file:
        file.write(text)
    with open(out + ".gz", "wb") as raw, gzip.GzipFile("", "wb", 9, raw, 0) as file:  # no name, no time: the same bytes each time
        file.write(text.encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
