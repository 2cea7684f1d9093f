"""The exceptions of pvlr_sdk.

Each error names the argument, what was expected, what it got instead, and how to fix it. All derive from
:class:`PvlrError`; those caused by an invalid value also derive from :class:`ValueError` or :class:`TypeError`, so
that ordinary ``except`` clauses work. ``docs/errors.md`` has a section on each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .install import install_hint as install_hint


class PvlrError(Exception):
    """Base class. The command line prints it as one message and exits with status 2.

    The parts come in this order in every raise of this package.

    Args:
        argument: the name of the invalid argument, file or setting.
        expected: what is valid.
        got: what was given or found.
        hint: how to fix it.
    """

    def __init__(self, argument: str, expected: str, got: str, hint: str) -> None:
        self.argument = argument
        self.expected = expected
        self.got = got
        self.hint = hint
        super().__init__(f"{argument}: expected {expected}, got {got}. {hint}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.argument, self.expected, self.got, self.hint)

    @property
    def help_anchor(self) -> str:
        """The section of the documentation on this error, relative to the repository's root."""
        return f"docs/errors.md#{type(self).__name__.lower()}"


# -- options and the machine ------------------------------------------------------------------------------------------


class OptionError(PvlrError, ValueError):
    """An option (threshold, top_k, device, precision, ...) is outside its range or of the wrong type."""


class UnknownLabelError(PvlrError, KeyError):
    """A label name that this model does not have."""

    __str__ = Exception.__str__  # KeyError would print the repr of the message


class MissingPartError(PvlrError, ImportError):
    """An optional part (an extra, the compiled core, a backend's library) is not installed."""


class DeviceError(PvlrError, RuntimeError):
    """The GPU cannot run the operation: none found, too old, out of memory, or CUDA refused the launch."""


class IsolationError(PvlrError, RuntimeError):
    """A restricted process for untrusted input cannot be started."""


class OutputError(PvlrError, OSError):
    """A file could not be written (no space, no permission); an existing file is unchanged."""


# -- frames -----------------------------------------------------------------------------------------------------------


class FrameError(PvlrError):
    """Base class of errors of a single frame or image; a stream or a folder continues without it."""


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
    """There is no file at this path, or it is not readable."""

    __str__ = Exception.__str__


class ImageDecodeError(FrameError, ValueError):
    """The bytes cannot be decoded as an image, or end early."""


class ImageSizeError(FrameError, ValueError):
    """An image or a frame has more pixels, or an upload more bytes, than the limit."""


# -- sources ----------------------------------------------------------------------------------------------------------


class SourceError(PvlrError):
    """Base class of errors of a camera, a stream or a watched file."""


class SourceUriError(SourceError, ValueError):
    """An invalid source: an unknown scheme or option, or a malformed address."""


class SourceOpenError(SourceError, OSError):
    """The file, device or host does not exist, or nothing in it can be decoded."""


class SourceDeniedError(SourceOpenError, PermissionError):
    """The user name or password is wrong or missing, or the user lacks permission to open the device."""


class SourceLostError(SourceError, ConnectionError):
    """An open source delivered no frame in time, or its connection broke."""


# -- bundles ----------------------------------------------------------------------------------------------------------


class BundleError(PvlrError):
    """Base class of errors of a plan, its manifest or its label bank."""


class PlanNotFoundError(BundleError, FileNotFoundError):
    """There is no plan at this path, no model of this name, or the model is not installed."""

    __str__ = Exception.__str__


class DownloadError(BundleError, ConnectionError):
    """A model could not be downloaded: no connection, no such file on the server, or too slow."""


class ManifestNotFoundError(BundleError, FileNotFoundError):
    """The plan has no manifest (``.json``) next to it."""

    __str__ = Exception.__str__


class ManifestError(BundleError, ValueError):
    """The manifest is not valid JSON, violates the schema, or was changed after it was written."""


class ManifestVersionError(BundleError, ValueError):
    """The manifest was written in a newer format than this version of the SDK reads."""


class FileSizeError(BundleError, ValueError):
    """A file of the bundle has another size than its manifest states."""


class FileHashError(BundleError, ValueError):
    """A file of the bundle has the right size but another SHA-256 than its manifest states."""


class LabelBankError(BundleError, ValueError):
    """The label bank is missing or unreadable, or its shape or names don't match the manifest."""


class ModelError(BundleError, ValueError):
    """The network is unreadable, or its inputs and outputs do not match a PVLR model."""


class UnsafeNetworkError(ModelError):
    """The network is not plain data: it refers to other files, or has operators or sizes that no export has."""


class UnsupportedNodeError(ModelError):
    """TensorRT does not support a node of the network."""


class BackendError(BundleError, RuntimeError):
    """The plan's backend is not available on this machine, or it failed at run time."""


class IsolatedLoadError(BackendError):
    """An unsigned plan crashed, or exceeded a limit of, the process that loads it for the first time."""


class PlanMismatchError(BackendError):
    """The plan was built for another TensorRT, GPU, processor or plugin library."""


class BuildError(BackendError):
    """TensorRT could not build a plan: something in the network, or an option, is not supported."""


class DeviceMemoryError(BackendError, MemoryError):
    """The GPU has too little free memory."""


class DeviceLostError(BackendError):
    """The CUDA context is lost, for example after a fault on the GPU; work in flight is lost."""


class SelfTestError(BundleError, RuntimeError):
    """The compiled plan does not reproduce its golden scores on this machine."""


class AccuracyError(BundleError, ArithmeticError):
    """A lower precision or a plan changes more tags than allowed."""


class NonFiniteError(BundleError, ArithmeticError):
    """The model's output contains NaN or infinite values."""


class DeployError(BundleError, RuntimeError):
    """A plan was not deployed, or it was rolled back; the plan that was in use still is."""


class SignatureError(BundleError, ValueError):
    """Base class of errors of a bundle's signature. It is verified before anything in the bundle is parsed."""


class NotSignedError(SignatureError):
    """The bundle has no signature, and one is required."""


class SignatureInvalidError(SignatureError):
    """The signature file is unreadable, or its signature does not belong to its statement."""


class UntrustedKeyError(SignatureError):
    """The bundle was signed with a key that is not trusted."""


class SignatureExpiredError(SignatureError):
    """The signature, or the key that made it, has expired."""


class SignedFileChangedError(SignatureError):
    """A file is not the one that was signed."""


class SignedFileMissingError(SignatureError):
    """A file that was signed is missing or unreadable."""


class FileNotSignedError(SignatureError):
    """A file of the bundle is not among the signed files: it was added or renamed."""


class RollbackError(SignatureError):
    """The bundle is older than one of the same name that was already in use."""


# -- data for training and evaluation ---------------------------------------------------------------------------------


class LabelsFileError(PvlrError, ValueError):
    """A labels CSV, a label map or a data set file is unreadable, or has an invalid row, column or value."""


class ConfigError(PvlrError, ValueError):
    """A configuration, of a training or of a site, has an unknown key or an invalid value."""


class CheckpointError(PvlrError, ValueError):
    """A checkpoint is missing, damaged, or does not match its configuration."""


class LossError(PvlrError, ArithmeticError):
    """The training's loss or gradient became NaN or infinite; the batch is kept next to the last valid state."""


def check_choice(
    argument: str, value: str, choices: Sequence[str], hint: str = "Choose one of these values."
) -> None:
    """Raises OptionError if the value of an option is not among its choices."""
    if value not in choices:
        raise OptionError(argument, f"one of {', '.join(choices)}", repr(value), hint)


@contextmanager
def needed(argument: str, expected: str, extra: str) -> Iterator[None]:
    """Within it, a package that cannot be imported is a MissingPartError; ``extra`` installs it."""
    try:
        yield
    except ImportError as error:
        raise MissingPartError(argument, expected, str(error), install_hint(extra)) from error
