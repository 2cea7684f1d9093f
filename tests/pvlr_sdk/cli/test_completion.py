"""What the shell offers after Tab, asked for as bash does."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pvlr_sdk.models.catalogue import catalogue

MODELS = [model.name for model in catalogue().models]
DEVICES = ["auto", "cpu", "tensorrt", "gpu", "npu"]
PRECISIONS = ["auto", "fp32", "fp16", "bf16", "int8"]


@pytest.fixture
def offered(pvlr, monkeypatch):
    def ask(line: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        monkeypatch.setenv("_PVLR_COMPLETE", "complete_bash")
        done = pvlr()
        assert (done.code, done.err) == (0, "")
        return done.out.split()

    return ask


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pvlr ver", ["verify", "verify-signature"]),
        ("pvlr models ", ["fetch"]),
        ("pvlr bench --prec", ["--precision"]),
        *(
            (f"pvlr {name} --device ", ["auto", "cpu", "tensorrt", "gpu", "npu"])
            for name in ("tag", "watch", "serve", "bench")
        ),
        *(
            (f"pvlr {name} --precision ", PRECISIONS)
            for name in ("tag", "bench", "eval", "verify", "build")
        ),
        ("pvlr export run --precision ", PRECISIONS[1:]),
        ("pvlr tag --precision bf", ["bf16"]),
        ("pvlr build x.onnx --device ", ["cpu", "tensorrt"]),
        ("pvlr build x.onnx --attention ", ["auto", "native", "fused"]),
        ("pvlr build x.onnx --hardware a", ["ampere+"]),
        ("pvlr export run --attention f", ["fused"]),
        ("pvlr thresholds x.plan --objective ", ["f1", "precision=", "recall="]),
        *(
            (f"pvlr {call} ", MODELS)
            for call in ("tag x.jpg --plan", "watch -p", "serve --plan", "models fetch")
        ),
        *(
            (f"pvlr {name} ", MODELS)
            for name in ("info", "labels", "eval", "verify", "thresholds", "bench", "build")
        ),
        ("pvlr doctor pvlr-lite0", ["pvlr-lite0-open"]),
        # Nothing: then bash offers files.
        ("pvlr tag ", []),
        ("pvlr tag --plan runs/", []),
        ("pvlr eval --images ", []),
    ],
)
def test_bash_offers_the_words_that_fit(offered, line, words):
    assert sorted(offered(line)) == sorted(words)  # bash sorts them


def test_completion_loads_nothing_heavy():
    code = (
        "import os, sys; from pvlr_sdk.cli import main; sys.argv = ['pvlr']\n"
        "os.environ.update(_PVLR_COMPLETE='complete_bash', COMP_WORDS='pvlr info ', COMP_CWORD='2')\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('numpy', 'cv2', 'openvino', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[-2] == "[]"
    assert MODELS[0] in done.stdout
