"""The commands and Python examples of the pages, run as they stand: ``python -m pytest --docs``, part of ``--all``.

Each page is one bash script in a clone of the checkout, with an environment that has the checkout's wheel and only the
extras that the page names; ``venv`` and ``pip install`` in a page select and check it. Its packages are links to those
of this environment that the extras require: seconds, no network. With PVLR_DOCS_ENVS=1, pip installs them. In a page:

    <!-- commands: extras=serve files=clip.mp4,site.yaml after=docs/training.md -->   (first line)
    <!-- commands: not run: REASON -->                  (first line) for the whole page
    <!-- not run: REASON -->     the next block needs what is not here, or is an excerpt
    <!-- file: NAME -->          save the next block, for this page and for others that name it in ``files``
    <!-- runs on -->             the next block does not end; it is stopped at the end of the page

``files`` names what the reader has before the page; ``after`` continues in the folder of another page. ``pvlr watch``
and ``pvlr serve`` must end with status 0, or still run a second after the plan is loaded or the server listens, and at
the next one, which takes their place.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import venv
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.docs

ROOT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))
}
ELSEWHERE = {
    **{
        f"docs/{page}.md": "days of training, on data sets"
        for page in ("accuracy", "camera_accuracy", "heads", "open_labels", "shipped_models")
    },
    **{
        f"docs/extend/{path.name}": "test_recipes.py follows it"
        for path in (ROOT / "docs/extend").glob("*.md")
    },
    "docs/performance.md": "benchmarks, which tests/benchmarks runs in short",
}
_HEADER = re.compile(r"\A<!-- commands: (.+?) -->\n")
_NOTE = r"<!-- ((?:not run|file|runs on)[^\n]*?) -->"
_BLOCK = re.compile(rf"^(?:{_NOTE}\n+)?```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
HEADERS = {name: found[1] for name, text in PAGES.items() if (found := _HEADER.match(text))}

PRELUDE = r"""
set -euo pipefail
served=
fail() { echo "failed: $*" >&2; exit 1; }
stop() {  # the last watch or serve; what has ended must have ended well
  if kill $served 2>/dev/null; then wait $served || true; elif [[ $served ]]; then wait $served; fi
  served=
}
start() {  # in the background, in place of the last watch or serve
  stop || return
  "$@" &
  last=$! since=$SECONDS
  for _ in {1..300}; do
    sleep 0.2
    kill -0 $last 2>/dev/null || { wait $last; return; }
    if began ${2-}; then sleep 1; kill -0 $last 2>/dev/null || wait $last; return; fi
  done
  return 1
}
began() {  # a server listens, a watch has loaded its plan; anything else has had four seconds
  case ${1-} in
    serve) listens ;;
    watch) grep -q libopenvino_intel_cpu /proc/$last/maps ;;
    *) (( SECONDS - since >= 4 )) ;;
  esac
}
listens() { { : <>/dev/tcp/127.0.0.1/8000; } 2>/dev/null; }
pvlr() {
  if [[ $1 != serve && $1 != watch || "$*" == *--check* || "$*" == *--print-config* ]]
  then command pvlr "$@" || fail "pvlr $*"
  else start "$(type -P pvlr)" "$@" || fail "pvlr $*"; served=$last; fi
}
python3() { [[ "$1 $2" == "-m venv" ]] || fail "python3 $*"; ln -sfn "$ENVIRONMENT" "$3"; }
pip() {
  [[ $1 == install && $2 =~ ^\.(\[([a-z0-9,]+)\])?$ ]] || fail "pip $*"
  for extra in ${BASH_REMATCH[2]//,/ }; do [[ ,$EXTRAS, == *,$extra,* ]] || fail "the page lacks extras=$extra"; done
}
curl() { command curl -sSf --retry 10 --retry-delay 1 --retry-connrefused "$@" || fail "curl $*"; }
"""
# Commands that make the files that a reader has.
MAKE = {
    "photo.jpg": "cp docs/images/coffee.jpg photo.jpg",
    "holiday": "cp -r docs/images holiday",
    "model.onnx": "cp runs/my-photos/model.* .",
    "runs/a": "cp -r runs/my-photos runs/a",
    "runs/b": "cp -r runs/my-photos runs/b",
    "clip.mp4": """python - <<'END'
import cv2
writer = cv2.VideoWriter("clip.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 10, (640, 480))
for n in range(40):
    writer.write(cv2.resize(cv2.imread(f"docs/images/{('coffee', 'chelsea')[n // 20]}.jpg"), (640, 480)))
writer.release()
END""",
    # Squares in the colours of four labels, in every combination, for each split.
    "photos": """python - <<'END'
import os, cv2, numpy
os.makedirs("photos/holiday")
lines = ["file,split,dog,cat,car,bicycle"]
for n in range(64):
    name = {0: "holiday/1.jpg", 1: "005131.jpg", 2: "000036.jpg"}.get(n, f"{n}.jpg")
    image = numpy.random.default_rng(n).integers(90, 150, (96, 128, 3)).astype(numpy.uint8)
    present = [c for c in range(4) if n >> c & 1]
    for c in present:
        image[8 + 10 * c : 48 + 10 * c, 30 * c : 30 * c + 36] = [40 + 180 * (c == k) for k in range(3)]
    cv2.imwrite(f"photos/{name}", image)
    split = ("train", "train", "val", "test")[n // 16]
    lines.append(",".join([name, split, *("1" if c in present else "-1" for c in range(4))]))
for path in ("photos/labels.csv", "labels.csv"):
    open(path, "w").write("\\n".join(lines) + "\\n")
END""",
}


def _save(name: str, content: str) -> str:
    return f"cat > {name} <<'END OF FILE'\n{content}END OF FILE\n"


MAKE |= {
    b[1][6:]: _save(b[1][6:], b[3])
    for t in PAGES.values()
    for b in _BLOCK.finditer(t)
    if (b[1] or "")[:5] == "file:"
}


def _script(text: str, origin: str, files: list[str]) -> str:
    """The page as a bash script: the files that its reader has, then its blocks in order."""
    script = [PRELUDE, *(MAKE[name] for name in files)]
    for block in _BLOCK.finditer(text):
        note, language, code = block.groups(default="")
        line = text[: block.start(3)].count("\n") + 1
        if note.startswith("file: "):
            script.append(_save(note[6:], code))
        elif language in ("bash", "python") and not note.startswith("not run: "):
            if language == "python":
                script.append(_save(f"line{line}.py", code))
                code = f"python line{line}.py"
            code = f"on() {{\n{code}\n}}\nstart on" if note == "runs on" else code
            script.append(f'echo "--- {origin}:{line}"\n{code}')
    return "\n".join([*script, "stop", 'echo "--- end"'])


def _require(package: Distribution, extra: str, found: dict[tuple[str, str], Distribution]) -> None:
    """Add what a package requires with an extra, and what that requires."""
    for requirement in map(Requirement, package.requires or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            for chosen in ("", *requirement.extras):
                if (key := (requirement.name, chosen)) not in found:
                    found[key] = package if key[0] == "pvlr-sdk" else distribution(key[0])
                    _require(found[key], chosen, found)


class Runner:
    """Environments and the folders of pages, each made once."""

    def __init__(self, dist: Any, folder: Path) -> None:
        self._dist, self._folder = dist, folder
        self._variables = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PYTHONPATH", "VIRTUAL_ENV")
        }
        self.ran: dict[str, Path] = {}

    def _environment(self, extras: str) -> Path:
        folder = self._folder / f"extras-{extras}"
        if not folder.exists():
            venv.create(folder, symlinks=True)
            command = [
                sys.executable,
                "-m",
                "pip",
                "--python",
                str(folder / "bin/python"),
                "install",
                "-q",
            ]
            if os.environ.get("PVLR_DOCS_ENVS") == "1":
                wheel = f"{self._dist.wheel}[{extras}]" if extras else self._dist.wheel
                subprocess.run([*command, wheel], env=self._variables, check=True)
                return folder
            subprocess.run(
                [*command, "--no-index", "--no-deps", self._dist.wheel],
                env=self._variables,
                check=True,
            )
            (site,) = folder.glob("lib/*/site-packages")
            (own,) = distributions(name="pvlr-sdk", path=[str(site)])
            required: dict[tuple[str, str], Distribution] = {}
            for extra in ("", *extras.split(",")):
                _require(own, extra, required)
            for package in required.values():
                for file in package.files or ():
                    if ".." not in file.parts and not (site / file).exists():
                        (site / file).parent.mkdir(parents=True, exist_ok=True)
                        (site / file).symlink_to(str(file.locate()))
        return folder

    def run(self, text: str, origin: str) -> None:
        """Run a page's commands. Raises AssertionError with what they printed if one fails."""
        header = dict(part.split("=") for part in _HEADER.findall(text)[0].split() if "=" in part)
        extras, after = header.get("extras", ""), header.get("after")
        environment = self._environment(extras)
        if after and after not in self.ran:
            self.run(PAGES[after], after)
        folder = self.ran[after] if after else self._folder / origin.replace("/", "-")
        if not after:
            shutil.copytree(self._dist.checkout, folder, copy_function=os.link)
            for core in environment.glob("lib/*/site-packages/pvlr_sdk/_core*.so"):
                shutil.copy(core, folder / "pvlr_sdk")  # as an installation from the checkout does
        (folder / "page.sh").write_text(
            _script(text, origin, re.findall(r"[^,]+", header.get("files", "")))
        )
        variables = {
            "ENVIRONMENT": str(environment),
            "EXTRAS": extras,
            "PATH": f"{environment}/bin:/usr/bin:/bin",
        }
        variables["HOME"] = variables["XDG_CACHE_HOME"] = str(self._folder)
        with (folder / "output.txt").open(
            "w"
        ) as output:  # not a pipe, which background processes keep open
            page = subprocess.Popen(
                ["nice", "bash", "page.sh"],
                cwd=folder,
                env={**self._variables, **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status = page.wait(600)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(page.pid, signal.SIGKILL)
        printed = (folder / "output.txt").read_text()
        reached = "--- end\n" in printed  # what runs on may print after it
        assert (status, reached) == (0, True), f"status {status}\n{printed[-6000:]}"
        self.ran[origin] = folder


@pytest.fixture(scope="session")
def runner(dist: Any, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(dist, tmp_path_factory.mktemp("docs"))


@pytest.mark.parametrize(
    "page", sorted(name for name, header in HEADERS.items() if not header.startswith("not run: "))
)
def test_the_commands_of_a_page_run(page: str, runner: Runner) -> None:
    if page not in runner.ran:
        runner.run(PAGES[page], page)


PLANTED = {
    "option": "```bash\npvlr tag docs/images/coffee.jpg --no-such-option\n```",
    "first-of-two": "```bash\npvlr tags docs/images/coffee.jpg && pvlr labels\n```",
    "server": "```bash\npvlr serve --no-such-option\n```",
    "extra": '```bash\npip install ".[serve]"\n```',
    "import": "```python\nimport fastapi\n```",
    "error": '```python\nfrom pvlr_sdk import Tagger\n\nTagger("no-such-model")\n```',
    "background": "<!-- runs on -->\n```bash\npython -m no_such_module\n```",
}


@pytest.mark.parametrize("wrong", PLANTED)
def test_a_planted_wrong_command_fails(wrong: str, runner: Runner) -> None:
    text = f"<!-- commands: files=photo.jpg -->\n```bash\npvlr --version\n```\n\n{PLANTED[wrong]}\n"
    with pytest.raises(AssertionError, match=rf"(?s)\n *pvlr \d.*\n *--- {wrong}:[78]\n"):
        runner.run(text, wrong)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_with_commands_says_how_they_run(page: str) -> None:
    blocks = [block.groups(default="") for block in _BLOCK.finditer(PAGES[page])]
    assert (
        page in HEADERS
        or page in ELSEWHERE
        or not any(language in ("bash", "python") for _, language, _ in blocks)
    )
    assert len(re.findall(f"^{_NOTE}", PAGES[page], re.MULTILINE)) == len(
        [note for note, _, _ in blocks if note]
    )
