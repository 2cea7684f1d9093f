"""Plans that fail when they are opened: the self-test on the golden frame, and networks unlike the manifest."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.backends import open_backend
from pvlr_sdk.frames.preprocess import Preprocessor
from pvlr_sdk.inference.golden import logits_of
from pvlr_sdk.models.find import load_bundle
from tests.manifests import edit_manifest, shift_golden


class TestBadPlans:
    def test_self_test_finds_a_model_that_computes_something_else(self, own_plan: Path) -> None:
        shift_golden(own_plan, 0.5)
        with pytest.raises(errors.SelfTestError, match=r"0\.5"):
            Tagger(own_plan)

    def test_self_test_also_covers_the_pixels(self, own_plan: Path) -> None:
        edit_manifest(own_plan, lambda raw: raw["input"].update(mean=[120, 127, 127]))
        with pytest.raises(errors.SelfTestError):
            Tagger(own_plan)

    @pytest.mark.slow
    def test_golden_frame_that_is_no_picture(self, own_plan: Path) -> None:
        header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (30_000).to_bytes(4, "big") * 2 + bytes(20)
        # the last one would be 2.7 GB of pixels
        for text in (
            "AAAA",
            "?",
            base64.b64encode(header).decode(),
        ):
            edit_manifest(own_plan, lambda raw, text=text: raw["golden"].update(frame_png=text))
            with pytest.raises(errors.ManifestError, match=r"golden\.frame_png"):
                Tagger(own_plan)

    def test_golden_frame_in_a_process_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import cv2

        from pvlr_sdk.frames.isolated import Decoders
        from pvlr_sdk.inference import golden

        text = golden.encode(golden.default_frame())
        monkeypatch.delattr(cv2, "imdecode")
        with closing(Decoders()) as decoders:
            np.testing.assert_array_equal(
                golden.decode(text, "plan", decoders), golden.default_frame()
            )
            with pytest.raises(errors.ManifestError):
                golden.decode("AAAA", "plan", decoders)

    def _with_payload(self, plan: Path, payload: bytes) -> Path:
        from pvlr_sdk.bundle.bundle import write_bundle

        write_bundle(replace(load_bundle(plan), payload=payload))
        return plan

    @pytest.mark.parametrize("payload", [b"no network at all", b"\x08\x08\x12\x02hi", b"\0" * 5000])
    def test_payload_that_is_no_network(self, own_plan: Path, payload: bytes) -> None:
        with pytest.raises(errors.ModelError):
            Tagger(self._with_payload(own_plan, payload))

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"input_name": "x"}, errors.ModelError),
            ({"output_name": "y"}, errors.ModelError),
            ({"names": ["a", "b", "c"]}, errors.ModelError),
            ({"seed": 1}, errors.SelfTestError),
            ({"broken": True}, errors.NonFiniteError),
        ],
        ids=["input", "output", "labels", "weights", "non-finite"],
    )
    def test_foreign_network(
        self,
        own_plan: Path,
        tmp_path: Path,
        make_network: Callable[..., Any],
        changes: dict[str, Any],
        error: type[errors.PvlrError],
    ) -> None:
        """With the same shapes and other weights, the cache of compiled networks keeps them apart."""
        Tagger(own_plan)
        foreign = make_network(tmp_path / "foreign", **changes)
        with pytest.raises(error):
            Tagger(self._with_payload(own_plan, foreign.onnx.read_bytes()))

    def test_the_verified_bytes_are_the_ones_that_run(
        self, own_plan: Path, photo: np.ndarray
    ) -> None:
        """Files that change after they were verified make no difference: nothing is read a second time."""
        expected = Tagger(own_plan, precision="fp32").predict(photo).logits
        bundle = load_bundle(own_plan)
        for path in own_plan.parent.iterdir():
            path.write_bytes(b"changed behind our back")
        backend = open_backend(bundle, precision="fp32", num_threads=1)
        logits = logits_of(photo, backend, Preprocessor(bundle.manifest.input))
        np.testing.assert_allclose(logits, expected, atol=1e-5)
