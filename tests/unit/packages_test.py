#!/usr/bin/env python3
"""`tools/build` alone must do on a fresh machine: each library that Meson asks for comes with a package of the role build
(tools/packages), or with one that such a package depends on. Usage: packages_test.py BUILD_DIRECTORY
"""
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def said(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def packages_of(role):
    with open(os.path.join(ROOT, "tools/packages"), encoding="ascii") as file:
        return {name for line in file if line.split()[:1] == [role] for name in line.split()[1:]}


def needed_by(packages):
    """Packages that these depend on."""
    depends = said("dpkg-query", "-W", "-f", "${Depends}, ", *packages)
    return {re.split(r"[ :]", word.strip())[0] for word in re.split(r"[,|]", depends) if word.strip()}


def package_of(library):
    """The package whose file told pkg-config of this library; None if pkg-config does not know it."""
    folder = subprocess.run(["pkg-config", "--variable=pcfiledir", library], check=False, capture_output=True, text=True)
    if folder.returncode:
        return None
    return said("dpkg-query", "-S", f"{folder.stdout.strip()}/{library}.pc").split(":")[0]


def main():
    build = packages_of("build")
    there = build | needed_by(build)
    asked = json.loads(said("meson", "introspect", "--dependencies", sys.argv[1]))
    owners = {library["name"]: package_of(library["name"]) for library in asked}
    found = {name: owner for name, owner in owners.items() if owner}
    missing = sorted(f"{name} ({owner})" for name, owner in found.items() if owner not in there)
    print("1..2")
    print(f"{'ok' if len(found) > 10 else 'not ok'} 1 - libraries_of_the_build_are_known_to_their_packages")
    print(f"{'not ok' if missing else 'ok'} 2 - role_build_brings_every_library_that_the_build_asks_for")
    for line in missing:
        print(f"# not in role build of tools/packages: {line}")


main()
