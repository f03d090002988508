"""A fresh environment that holds the built wheel and what it asks for, and nothing else.

The packages are linked from the environment that runs the tests, so that no index is asked.
"""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

RUN = "import sys; sys.argv[0] = 'gatepass'; from issuer.cli import main; main()"


def closure(requirements: Iterable[Requirement], extras: Sequence[str] = ()) -> set[str]:
    """Names of everything that these requirements, under these extras, pull in here."""
    seen: set[str] = set()
    waiting = [(requirement, ("", *extras)) for requirement in requirements]
    while waiting:
        requirement, wanted = waiting.pop()
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in wanted):
            continue
        name = canonicalize_name(requirement.name)
        if name in seen and not requirement.extras:
            continue
        seen.add(name)
        for line in metadata.requires(name) or []:
            waiting.append((Requirement(line), ("", *requirement.extras)))
    return seen


def build_wheel(root: Path, directory: Path) -> Path:
    """The tree's wheel."""
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(directory)]
    done = subprocess.run([*build, str(root)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = directory.glob("*.whl")
    return wheel


class FreshInstall:
    """The wheel under some of its extras."""

    def __init__(self, directory: Path, wheel: Path, extras: Sequence[str]) -> None:
        venv.create(directory, symlinks=True, with_pip=False)
        self.python = directory / "bin" / "python"
        [self.site] = (directory / "lib").glob("python*/site-packages")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.site)
        lines = metadata.requires("gatepass") or []
        for name in closure(map(Requirement, lines), extras):
            self._link(metadata.distribution(name))

    def _link(self, distribution: metadata.Distribution) -> None:
        for file in distribution.files or []:
            if ".." in file.parts or "__pycache__" in file.parts:
                continue
            place = self.site / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(Path(str(distribution.locate_file(file))).resolve())

    def command(self, *arguments: str) -> list[str]:
        """The command line of `gatepass` there."""
        return [str(self.python), "-I", "-c", RUN, *arguments]

    def gatepass(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `gatepass` to its end."""
        return subprocess.run(
            self.command(*arguments),
            check=False,
            capture_output=True,
            text=True,
            cwd=self.site,
            timeout=60,
        )
