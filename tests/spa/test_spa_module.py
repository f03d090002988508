"""The browser module: its own tests, its types, its package, and the mistakes its tests catch."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from harness.processes import require_binary
from harness.spa_mutants import MUTANTS

SPA = Path(__file__).resolve().parent.parent.parent / "spa"
LONGEST_MODULE = 250
FENCE = re.compile(r"^```(js|ts)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OWN_TESTS = sorted(path.name for path in (SPA / "tests").glob("*.test.js"))
SEEDS = "8"
SHORT = "1"


def output(argv: list[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )


def own_tests(tree: Path, file: str, *options: str, seeds: str) -> tuple[int, str]:
    """Without the runner, which costs a process of its own: one file reports by itself."""
    argv = [require_binary("node", "nodejs"), *options, f"tests/{file}"]
    done = output(argv, tree, SEEDS=seeds)
    return done.returncode, done.stdout


def compile_types(folder: Path) -> str:
    """What TypeScript has to say about a folder with a tsconfig.json; empty if nothing."""
    compiler = SPA / "node_modules" / "typescript" / "bin" / "tsc"
    assert compiler.exists(), "npm's packages are missing: ./run test installs them"
    done = output([require_binary("node", "nodejs"), str(compiler), "-p", "."], folder)
    return done.stdout if done.returncode else ""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has the packed module, and nothing else, installed."""
    project = tmp_path_factory.mktemp("consumer")
    npm = require_binary("npm", "npm")
    done = output(
        [npm, "pack", "--silent", "--no-update-notifier", "--pack-destination", str(project)], SPA
    )
    assert done.returncode == 0, done.stdout
    [archive] = project.glob("*.tgz")
    with tarfile.open(archive) as file:
        file.extractall(project / "node_modules", filter="data")
    (project / "node_modules" / "package").rename(project / "node_modules" / "gatepass-spa")
    (project / "package.json").write_text('{"type": "module"}')
    return project


def test_the_module_has_tests() -> None:
    """Those that the next test runs one by one."""
    assert len(OWN_TESTS) > 4


@pytest.mark.parametrize("file", OWN_TESTS)
def test_the_modules_own_tests_pass(file: str) -> None:
    """Node's test runner passes every test of the module, with many tabs in one process."""
    code, told = own_tests(SPA, file, seeds=SEEDS)
    assert code == 0, told


def test_sources_examples_and_types_agree() -> None:
    """TypeScript, at its strictest, finds nothing in the sources, the types and the examples."""
    told = compile_types(SPA)
    assert told == "", told


def test_the_react_example_is_at_home_in_a_project_of_typescript_alone(tmp_path: Path) -> None:
    """Where no JavaScript is read, nothing in it is without types."""
    settings = json.loads((SPA / "tsconfig.json").read_text())["compilerOptions"]
    options = {**settings, "allowJs": False, "checkJs": False}
    described = {"compilerOptions": options, "include": [str(SPA / "examples" / "react")]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(described))
    told = compile_types(tmp_path)
    assert told == "", told


def test_examples_of_the_docs_are_well_typed(packed: Path) -> None:
    """Each example of README and docs compiles against the packed module."""
    pages = [SPA.parent / "README.md", *(SPA.parent / "docs").rglob("*.md")]
    blocks = [block for page in pages for block in FENCE.findall(page.read_text("utf-8"))]
    assert len(blocks) >= 4
    for index, (language, text) in enumerate(blocks):
        (packed / f"example{index}.{language}").write_text(text)
    settings = json.loads((SPA / "tsconfig.json").read_text())
    for resolution in ("nodenext", "esnext"):
        bundler = {"moduleResolution": "bundler"} if resolution == "esnext" else {}
        options = {**settings["compilerOptions"], "module": resolution, **bundler}
        # What an app's author has to write is what counts here, not what the app does with it.
        settings = {"compilerOptions": {**options, "noUnusedLocals": False}, "include": ["ex*"]}
        (packed / "tsconfig.json").write_text(json.dumps(settings))
        told = compile_types(packed)
        assert told == "", told


def test_the_package_holds_what_an_app_needs_and_no_more(packed: Path) -> None:
    """Sources, types, licence and readme; no tests, no examples, no lock, no dependency."""
    package = packed / "node_modules" / "gatepass-spa"
    names = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    sources = {f"src/{path.name}" for path in (SPA / "src").glob("*.js")}
    assert names == {"package.json", "README.md", "LICENSE", "types/index.d.ts", *sources}
    described = json.loads((package / "package.json").read_text())
    assert described["license"] == "Apache-2.0"
    assert described["sideEffects"] is False
    assert "dependencies" not in described
    assert (SPA / "LICENSE").read_text() == (SPA.parent / "LICENSE").read_text()


def test_the_package_is_imported_by_its_name_without_a_browser(packed: Path) -> None:
    """On a server it loads, asks nobody, says that nobody is known, and lets the process end."""
    script = (
        "import { createSession } from 'gatepass-spa';"
        "globalThis.fetch = async () => { console.log('asked'); throw 1; };"
        "const session = createSession({ issuer: 'https://id.example' });"
        "process.on('exit', () => console.log(session.state.status));"
    )
    node = require_binary("node", "nodejs")
    done = output([node, "--input-type=module", "-e", script], packed)
    assert (done.returncode, done.stdout) == (0, "restoring\n")


def test_modules_are_small_and_depend_on_nothing() -> None:
    """Each source file has one idea's worth of lines, and imports its neighbours alone."""
    for path in (SPA / "src").glob("*.js"):
        text = path.read_text("utf-8")
        assert len(text.splitlines()) <= LONGEST_MODULE, path.name
        assert all(name.startswith("./") for name in re.findall(r'from "([^"]+)"', text)), path.name


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mistake_is_caught(name: str, tmp_path: Path) -> None:
    """The named test fails on a copy of the module with this mistake in it."""
    file, old, new, test = MUTANTS[name]
    for part in ("src", "tests"):
        shutil.copytree(SPA / part, tmp_path / part)
    shutil.copy(SPA / "package.json", tmp_path)
    source = tmp_path / "src" / file
    text = source.read_text("utf-8")
    assert text.count(old) == 1, f"{file} has changed: {old}"
    source.write_text(text.replace(old, new), "utf-8")
    [telling] = [
        path.name
        for path in (tmp_path / "tests").glob("*.test.js")
        if test in path.read_text("utf-8")
    ]
    code, told = own_tests(tmp_path, telling, f"--test-name-pattern={test}", seeds=SHORT)
    assert code != 0, told
    assert "SyntaxError" not in told
    assert "ReferenceError" not in told
