"""The software bill of materials: CycloneDX 1.6 from the locks, the same octets each time.

`./run sbom > gatepass.cdx.json`. Licences come from the installed packages' own metadata.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from supply.licences import licence_of
from supply.locks import PROJECT, ROOT, Pin, runtime_pins

_NAMESPACE = uuid.UUID("7f0b52b1-5a0e-4c0f-8b0e-2a5f6f2f9c11")


def document() -> str:
    """The bill as JSON; without a time, so that the same locks give the same octets."""
    pins = runtime_pins()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    ours = _component(PROJECT, version, "Apache-2.0", kind=ComponentType.APPLICATION)
    parts = {pin.name: _of_pin(pin) for pin in pins}
    bom = Bom(components=parts.values())
    bom.metadata.timestamp = None  # type: ignore[assignment]
    bom.metadata.component = ours
    digest = hashlib.sha256(repr((version, pins)).encode()).hexdigest()
    bom.serial_number = uuid.uuid5(_NAMESPACE, digest)
    bom.register_dependency(ours, [parts[pin.name] for pin in pins if PROJECT in pin.via])
    for name, part in parts.items():
        bom.register_dependency(part, [parts[pin.name] for pin in pins if name in pin.via])
    written = json.loads(JsonV1Dot6(bom).output_as_string())
    return json.dumps(written, indent=2, sort_keys=True) + "\n"


def _of_pin(pin: Pin) -> Component:
    part = _component(pin.name, pin.version, licence_of(pin.name))
    part.hashes.update(HashType(alg=HashAlgorithm.SHA_256, content=each) for each in pin.hashes)
    if pin.marker:
        part.properties.add(Property(name="gatepass:marker", value=pin.marker))
    return part


def _component(
    name: str, version: str, licence: str, kind: ComponentType = ComponentType.LIBRARY
) -> Component:
    purl = PackageURL("pypi", None, name, version)
    return Component(
        name=name,
        version=version,
        type=kind,
        purl=purl,
        bom_ref=str(purl),
        licenses=[LicenseFactory().make_from_string(licence)],
    )


if __name__ == "__main__":
    sys.stdout.write(document())
