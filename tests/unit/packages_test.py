#!/usr/bin/env python3
"""A fresh machine has nothing but what tools/packages names: each library that Meson asks for comes with a package of the
role build, each Python module that a test imports with one of the role check; or with one that such a package depends on.
Usage: packages_test.py BUILD_DIRECTORY
"""
import ast
import glob
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


def libraries():
    """{library: its package} of what Meson asks for and pkg-config knows."""
    asked = json.loads(said("meson", "introspect", "--dependencies", sys.argv[1]))
    owners = {library["name"]: package_of(library["name"]) for library in asked}
    return {name: owner for name, owner in owners.items() if owner}


def imported(path):
    """The outermost names of the modules that a file imports."""
    with open(path, encoding="utf-8") as file:
        for node in ast.walk(ast.parse(file.read())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield node.module.split(".")[0]


def modules():
    """{module: its package} of what tests import and neither Python nor the project brings."""
    files = glob.glob(os.path.join(ROOT, "**/*.py"), recursive=True)
    ours = {os.path.basename(path)[:-3] for path in files}
    names = {name for path in files if path.startswith(os.path.join(ROOT, "tests/")) for name in imported(path)}
    return {name: debian_module(name) for name in names - ours - sys.stdlib_module_names}


def debian_module(name):
    """The package that brings a module to Debian's Python; "no package" if none that is installed does."""
    done = subprocess.run(["dpkg-query", "-S", f"/usr/lib/python3/dist-packages/{name}/__init__.py"], check=False,
                          capture_output=True, text=True)
    return done.stdout.split(":")[0] if done.returncode == 0 else "no package"


def report(number, name, found, least, role):
    """One line of TAP: whether at least so many were found, and all in packages of a role."""
    named = packages_of(role)
    there = named | needed_by(named)
    missing = sorted(f"{what} ({owner})" for what, owner in found.items() if owner not in there)
    print(f"{'not ok' if missing or len(found) < least else 'ok'} {number} - {name}")
    for line in missing:
        print(f"# not in role {role} of tools/packages: {line}")


print("1..2")
report(1, "role_build_brings_every_library_that_the_build_asks_for", libraries(), 11, "build")
report(2, "role_check_brings_every_python_module_that_a_test_imports", modules(), 1, "check")
