#!/usr/bin/env python3
"""Reads `cargo metadata`, and writes a CycloneDX list of the crates that the program is made of.

usage: cargo metadata ... | sbom.py FILE

The file has the lines of `cargo tree`: `cargo metadata` also names crates that are there only with features that
tests enable. Crates that only tests, build scripts and the compiler use are left out. The same sources give the same
bytes.
"""

import json
import sys

metadata = json.load(sys.stdin)
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
root = metadata["resolve"]["root"]
with open(sys.argv[1]) as tree:
    # `NAME vVERSION`, and for some crates more.
    listed = {tuple(line.replace(" v", " ").split()[:2]) for line in tree}


def is_listed(node):
    return (packages[node]["name"], packages[node]["version"]) in listed


def is_macro(node):
    """Whether it runs in the compiler, and is not linked."""
    return any("proc-macro" in target["kind"] for target in packages[node]["targets"])


def dependencies(node):
    """What a crate is linked with."""
    for dependency in nodes[node]["deps"]:
        is_linked = any(kind["kind"] is None for kind in dependency["dep_kinds"])
        if is_linked and not is_macro(dependency["pkg"]) and is_listed(dependency["pkg"]):
            yield dependency["pkg"]


linked, waiting = set(), [root]
while waiting:
    node = waiting.pop()
    if node not in linked:
        linked.add(node)
        waiting.extend(dependencies(node))


def purl(node):
    package = packages[node]
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(node):
    package = packages[node]
    is_program = node == root
    entry = {
        "type": "application" if is_program else "library",
        "bom-ref": purl(node),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(node),
    }
    if package.get("license"):
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    return entry


others = sorted(linked - {root}, key=purl)
json.dump(
    {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(root)},
        "components": [component(node) for node in others],
        "dependencies": [
            {"ref": purl(node), "dependsOn": sorted(map(purl, set(dependencies(node))))}
            for node in [root, *others]
        ],
    },
    sys.stdout,
    indent=1,
)
print()
