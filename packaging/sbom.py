"""What is built in, as a bill of materials: `just sbom > sciembed.cdx.json`, or `just sbom --table` for people.

Read from cargo's own metadata and lock file: each package with version, licence, checksum and address. CycloneDX 1.6:
<https://cyclonedx.org/docs/1.6/json/>. Build tools and what only tests use are left out.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path


def main():
    run = lambda *command: subprocess.run(command, capture_output=True, text=True, check=True).stdout
    host = next(line.split()[1] for line in run("rustc", "-vV").splitlines() if line.startswith("host:"))
    metadata = json.loads(run("cargo", "metadata", "--format-version=1", "--locked", f"--filter-platform={host}"))
    packages = {it["id"]: it for it in metadata["packages"]}
    nodes = {it["id"]: it for it in metadata["resolve"]["nodes"]}
    root = next(it for it in metadata["packages"] if it["name"] == "sciembed" and it["source"] is None)
    used, waiting = set(), [root["id"]]
    while waiting:
        at = waiting.pop()
        if at not in used:
            used.add(at)
            # "kind" is none for what is linked, otherwise "dev" or "build".
            waiting += [it["pkg"] for it in nodes[at]["deps"] if any(kind["kind"] is None for kind in it["dep_kinds"])]
    sums = {(it["name"], it["version"]): it.get("checksum") for it in tomllib.loads(Path("Cargo.lock").read_text())["package"]}
    components = [component(packages[it], sums) for it in sorted(used - {root["id"]}, key=lambda it: packages[it]["name"])]
    if "--table" in sys.argv:
        for it in components:
            print(f"{it['name']:32} {it['version']:16} {it['licenses'][0]['expression']}")
        return
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1}
    bill["metadata"] = {"component": component(root, sums)}
    bill["components"] = components
    json.dump(bill, sys.stdout, indent=1)
    print()


def component(package, sums):
    name, version = package["name"], package["version"]
    # Old manifests write a slash where SPDX has OR.
    licence = " OR ".join(part.strip() for part in (package["license"] or "unknown").split("/"))
    told = {"type": "library", "name": name, "version": version, "bom-ref": f"{name}@{version}"}
    told["purl"] = f"pkg:cargo/{name}@{version}"
    told["licenses"] = [{"expression": licence}]
    if sums.get((name, version)):
        told["hashes"] = [{"alg": "SHA-256", "content": sums[name, version]}]
    return told


main()
