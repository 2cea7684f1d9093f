"""Every error that pvlr_sdk raises on purpose.

Each error names the argument, says what was expected, what came instead and what to do about it. They all derive
from :class:`PvlrError`; the ones caused by a wrong value also derive from :class:`ValueError` or :class:`TypeError`,
so that ordinary ``except`` clauses keep working. ``docs/errors.md`` has a section on each.
"""

from __future__ import annotations


class PvlrError(Exception):
    """Base class. The command line prints it as one message and exits with status 2.

    Args:
        argument: the name of the argument, file or setting that is wrong.
        expected: what it should have been.
        got: what it was.
        hint: what the reader can do about it.
    """

    def __init__(self, argument: str, *, expected: str, got: str, hint: str) -> None:
        self.argument = argument
        self.expected = expected
        self.got = got
        self.hint = hint
        super().__init__(f"{argument}: expected {expected}, got {got}. {hint}")

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments need help to survive pickling between processes.
        return (_rebuild, (type(self), self.argument, self.expected, self.got, self.hint))

    @property
    def help_anchor(self) -> str:
        """Where this error is explained, relative to the repository's root."""
        return f"docs/errors.md#{type(self).__name__.lower()}"


def _rebuild(kind: type[PvlrError], argument: str, expected: str, got: str, hint: str) -> PvlrError:
    return kind(argument, expected=expected, got=got, hint=hint)


# -- options and the machine ------------------------------------------------------------------------------------------


class OptionError(PvlrError, ValueError):
    """An option (threshold, top_k, device, precision, ...) is outside its range or of the wrong kind."""


class UnknownLabelError(PvlrError, KeyError):
    """A label name that this model does not have."""

    __str__ = Exception.__str__  # KeyError would print the repr of the message


class MissingPartError(PvlrError, ImportError):
    """An optional part (an extra, the compiled core, a backend's library) is not installed."""


class DeviceError(PvlrError, RuntimeError):
    """The GPU can't do it: there is none, it is too old or out of memory, or CUDA refused a launch."""


class OutputError(PvlrError, OSError):
    """A file could not be written (no space, no permission); what was there before is untouched."""


# -- frames -----------------------------------------------------------------------------------------------------------


class FrameError(PvlrError):
    """Base class of everything that can be wrong with one picture; a stream or a folder goes on without it."""


class FrameTypeError(FrameError, TypeError):
    """The frame is not an array, a path, encoded bytes or a PIL image."""


class FrameDtypeError(FrameError, TypeError):
    """The frame's dtype is not uint8."""


class FrameShapeError(FrameError, ValueError):
    """The frame's rank or number of channels does not fit its colour order."""


class EmptyFrameError(FrameError, ValueError):
    """The frame has a side of zero pixels, or there are no encoded bytes."""


class FrameValueError(FrameError, ValueError):
    """The frame holds NaN or infinite values."""


class ImageNotFoundError(FrameError, FileNotFoundError):
    """No file at this path, or it can't be read."""

    __str__ = Exception.__str__


class ImageDecodeError(FrameError, ValueError):
    """The bytes are no picture that can be decoded, or end in the middle of one."""


class ImageSizeError(FrameError, ValueError):
    """An uploaded picture has more bytes or pixels than the server takes."""


# -- sources ----------------------------------------------------------------------------------------------------------


class SourceError(PvlrError):
    """Base class of everything that can be wrong with a camera, a stream or a file that is watched."""


class SourceUriError(SourceError, ValueError):
    """The text names no source: an unknown scheme or option, or a malformed address."""


class SourceOpenError(SourceError, OSError):
    """There is no such file, device or host, or nothing in it can be decoded."""


class SourceDeniedError(SourceOpenError, PermissionError):
    """The user name or the password is wrong or missing, or this user may not open the device."""


class SourceLostError(SourceError, ConnectionError):
    """The source was open, and then no frame came in time or the connection broke."""


# -- bundles ----------------------------------------------------------------------------------------------------------


class BundleError(PvlrError):
    """Base class of everything that can be wrong with a plan, its manifest or its label bank."""


class PlanNotFoundError(BundleError, FileNotFoundError):
    """There is no plan at this path."""

    __str__ = Exception.__str__


class ManifestNotFoundError(BundleError, FileNotFoundError):
    """The plan has no manifest (``.json``) beside it."""

    __str__ = Exception.__str__


class ManifestError(BundleError, ValueError):
    """The manifest is not valid JSON or breaks the schema."""


class ManifestVersionError(BundleError, ValueError):
    """The manifest was written in a newer format than this version of the SDK reads."""


class FileSizeError(BundleError, ValueError):
    """A file of the bundle is shorter or longer than its manifest says."""


class FileHashError(BundleError, ValueError):
    """A file of the bundle has the right size but other contents than its manifest says."""


class LabelBankError(BundleError, ValueError):
    """The label bank is missing, unreadable, or its shape or names don't fit the manifest."""


class ModelError(BundleError, ValueError):
    """The network can't be read, or its inputs and outputs are not those of a PVLR model."""


class UnsupportedNodeError(ModelError):
    """TensorRT refuses a node of the network."""


class BackendError(BundleError, RuntimeError):
    """The backend that the plan needs is not usable on this machine, or it failed while running."""


class PlanMismatchError(BackendError):
    """The plan was built for another TensorRT, GPU, processor or plugin library than the ones here."""


class BuildError(BackendError):
    """TensorRT could not make a plan of the network: something in it, or an option, is not supported there."""


class DeviceMemoryError(BackendError, MemoryError):
    """The GPU has too little free memory."""


class DeviceLostError(BackendError):
    """The CUDA context broke, as after a fault on the GPU; what was under way is lost."""


class SelfTestError(BundleError, RuntimeError):
    """The compiled plan does not reproduce its golden scores on this machine."""


class AccuracyError(BundleError, ArithmeticError):
    """A faster precision or a plan changes more tags than it may."""


class NonFiniteError(BundleError, ArithmeticError):
    """The model's output holds NaN or infinite values."""


# -- data for training and evaluation ---------------------------------------------------------------------------------


class LabelsFileError(PvlrError, ValueError):
    """A labels CSV, a label map or a file of a data set is unreadable, or a row, column or value in it is wrong."""


class ConfigError(PvlrError, ValueError):
    """A configuration, of a training or of a site, has an unknown key or a value that can't be."""


class CheckpointError(PvlrError, ValueError):
    """A checkpoint is missing, damaged, or does not fit its configuration."""


class LossError(PvlrError, ArithmeticError):
    """The loss or the gradient of a training became NaN or infinite; the batch is kept beside the last sound state."""
