"""The interface of a backend: what a tagger needs of a loaded plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from .. import errors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..bundle.label_bank import LabelBank
    from ..frames.device import DeviceFrame
    from ..frames.frames import Frame
    from ..frames.preprocess import Preprocessor


class Slot(Protocol):
    """The buffers of one inference. A slot belongs to one thread from ``acquire`` to ``release``."""

    input: NDArray[np.float32]
    """(3, H, W), planar or a view of packed pixels. Write the preprocessed frame here, in place, before ``start``."""

    features: NDArray[np.float32] | None = None
    """(D,), the image features of an open plan after ``wait``: a view that the next inference overwrites."""

    def load(self, frame: Frame | DeviceFrame, preprocess: Preprocessor) -> None:
        """Preprocess a frame into the input, wherever that is fastest. Replaces writing to ``input``.

        Raises:
            FrameError: this backend cannot use the frame.
        """

    def start(self) -> None:
        """Start the inference and return before it has ended.

        Raises:
            BackendError: the inference failed.
        """

    def wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Wait for logits (C,) and similarity (N, C; N is 0 for a plan without attention maps): views that the slot's
        next inference overwrites.

        Raises:
            BackendError: the inference failed.
        """


class Backend(Protocol):
    """A loaded plan. All methods are safe to call from several threads at once."""

    info: dict[str, Any]
    """Backend, device, precision, threads and version, for display."""

    precision: str
    """The precision that it computes in: a key of the manifest's ``golden.tolerance``."""

    parallel: int
    """Number of concurrent inferences that keep the device busy; more than that only wait."""

    together: int = 1
    """Largest number of frames per inference."""

    def with_labels(self, bank: LabelBank) -> Backend:
        """A backend that runs the same open plan with another label bank; both share the device and the slots.

        Raises:
            BackendError: the plan is closed: its labels are part of it.
            LabelBankError: the plan cannot use the bank.
        """
        raise closed("plan")

    def acquire(self) -> Slot:
        """A slot for exclusive use."""

    def release(self, slot: Slot) -> None:
        """Return a slot whose inference has ended."""

    def acquire_group(self) -> Sequence[Slot]:
        """``together`` slots that share one inference, which starts when the last of them is started."""
        return [self.acquire()]

    def release_group(self, group: Sequence[Slot]) -> None:
        """Return a group whose inference has ended."""
        self.release(*group)


def closed(plan: str) -> errors.BackendError:
    """The error for other labels in a closed plan."""
    return errors.BackendError(
        plan,
        "an open plan",
        "one whose labels are part of it",
        "Use pvlr-lite2-open, or make one of your model: pvlr export RUN --open, then pvlr build.",
    )
