"""The pixel contract for a batch of arrays: validation, planes, launch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..frames import yuv
from ..frames.frames import Order
from ..frames.preprocess import Preprocessor
from .tensors import TYPES, Arguments, Type

if TYPE_CHECKING:
    from .._core import Tensor
    from ..bundle.manifest import InputSpec

_CHANNELS = {"bgr": 3, "rgb": 3, "bgra": 4, "rgba": 4}
_PLANES = {"nv12", "i420"}
_ENDINGS = {"bt709", "full"}
_NAMES = {
    "width": "frames",
    "height": "frames",
    "pitches": "frames",
    "dst_width": "spec",
    "dst_height": "spec",
}
Box = tuple[int, int, int, int]


def preprocess(
    frames: Sequence[Any],
    spec: InputSpec,
    *,
    order: Order | Sequence[Order] = "bgr",
    regions: Sequence[tuple[int, Box]] | None = None,
    dtype: Type = "float32",
    out: Any = None,
    threads: int = 1,
    stream: Any = None,
) -> Any:
    """Compute the network's input for a batch of frames: resized, RGB planes, (pixel - mean) / std.

    The pixel contract of :class:`~pvlr_sdk.frames.preprocess.Preprocessor` (antialiased triangle, half-pixel centres),
    for frames of any sizes and layouts in one launch. Rows may have any pitch, also negative; nothing is copied.

    Args:
        frames: uint8 arrays on one device: (H, W, 3) for bgr and rgb, (H, W, 4) for bgra and rgba, (H, W) for gray.
            For nv12 and i420 one array (H * 3 / 2, W) with even H and W (contiguous for i420), or a tuple of planes:
            luma (H, W), then chroma ((H + 1) // 2, 2 * ((W + 1) // 2)) for nv12, twice ((H + 1) // 2, (W + 1) // 2) for
            i420. Each side has at most 16384 pixels on a GPU, 2^20 on the CPU.
        spec: size, resize mode, mean, std and padding of the network's input.
        order: the layout of the frames, one for all or one per frame. ``nv12`` and ``i420`` mean BT.601 with limited
            range; the suffixes ``-bt709`` and ``-full``, in this order, change that.
        regions: regions of frames instead of whole frames: (frame index, (left, top, width, height)), each an entry of
            the batch, resized without its surroundings.
        dtype: dtype of the result: float32, float16 or bfloat16.
        out: the array to write to; by default a new one of the first frame's library.
        threads: CPU threads that share the frames; results don't depend on it.
        stream: see :func:`pvlr_sdk.kernels.dual_softmax_attention`.

    Returns:
        (n, 3, height, width), contiguous, for n frames or regions; on a GPU it is ready in ``stream``.

    Raises:
        OptionError, MissingPartError, DeviceError: see :func:`pvlr_sdk.kernels.dual_softmax_attention`.
    """
    arguments = Arguments("preprocess_batch", stream, names=_NAMES, public="preprocess")
    arguments.check_threads(threads)
    if dtype not in TYPES:
        raise arguments.wrong("dtype", f"one of {', '.join(TYPES)}", repr(dtype))
    if not isinstance(frames, (list, tuple)) or not frames:
        raise arguments.wrong("frames", "a list of at least one frame", type(frames).__name__)
    orders = [order] * len(frames) if isinstance(order, str) else list(order)
    if len(orders) != len(frames):
        raise arguments.wrong(
            "order", f"one, or one for each of {len(frames)} frames", f"{len(orders)}"
        )
    pairs = enumerate(zip(frames, orders, strict=True))
    opened = [_open(arguments, f"frames[{i}]", frame, region) for i, (frame, region) in pairs]
    place = Preprocessor(spec)
    entries = []
    for number, crop in _regions(arguments, regions, opened):
        entries.append(
            (opened[number].planes, orders[number], crop, place.region(crop[3], crop[2]))
        )

    shape = (len(entries), 3, spec.height, spec.width)
    if out is None:
        first = frames[0][0] if isinstance(frames[0], (list, tuple)) else frames[0]
        out = arguments.empty_like(first, shape, type_=dtype)
    target = arguments.output("out", out, shape, dtype)
    arguments.check_packed("out", target)
    planes = [plane for opened_frame in opened for plane in opened_frame.planes]
    arguments.apart(
        {"out": target}, {f"plane {i} of the frames": plane for i, plane in enumerate(planes)}
    )
    arguments.run(entries, target, *place.normalisation, threads)
    return out


def prepare(frame: Any, spec: InputSpec, order: Order, crop: Box | None = None) -> Entry:
    """Check a frame, or a box inside it, for :func:`launch`; arguments and errors as in :func:`preprocess`."""
    arguments = Arguments("preprocess_batch", None, names=_NAMES, public="preprocess")
    planes, height, width = _open(arguments, "frame", frame, order)
    crop = crop or (0, 0, width, height)
    return planes, order, crop, Preprocessor(spec).region(crop[3], crop[2])


def launch(entries: Sequence[Entry], spec: InputSpec, out: Any, stream: int | None) -> None:
    """Compute the network's input for frames in GPU memory, in one launch; ``out`` is as in :func:`preprocess`."""
    arguments = Arguments("preprocess_batch", stream, names=_NAMES, public="preprocess")
    arguments.run(entries, arguments.view("out", out), *Preprocessor(spec).normalisation, 1)


Entry = tuple[list["Tensor"], str, Box, tuple[int, int, int, int]]
"""A frame of a batch for the core: arrays, order, crop, region of the output."""


class _Opened(NamedTuple):
    """A frame whose arrays fit its order."""

    planes: list[Tensor]
    height: int
    width: int


def _open(arguments: Arguments, name: str, frame: Any, order: str) -> _Opened:
    layout = _layout(arguments, order)
    in_planes = layout in _PLANES and isinstance(frame, (list, tuple))
    if in_planes and not frame:
        raise arguments.wrong(name, f"the planes of a frame in order {order}", "no plane")
    planes = [arguments.view(name, plane) for plane in (frame if in_planes else [frame])]
    for plane in planes:
        if plane.type != "uint8":
            raise arguments.wrong(name, "uint8", plane.type)
    first = planes[0]
    if 0 in first.shape or len(first.shape) < 2:
        raise arguments.wrong(name, f"an image in order {order}", f"shape {first.shape}")
    if layout in _CHANNELS:
        return _of_pixels(arguments, name, first, _CHANNELS[layout])
    if any(plane.strides[-1] != 1 and plane.shape[-1] > 1 for plane in planes):
        raise arguments.wrong(name, "rows of contiguous pixels", f"strides {first.strides}")
    if len(planes) == 1 and layout in _PLANES:
        return _of_stacked_planes(arguments, name, first, layout)
    return _of_planes(arguments, name, planes, layout)


def _layout(arguments: Arguments, order: str) -> str:
    """The part of a valid order before its endings."""
    layout, *endings = order.split("-")
    valid = _ENDINGS if layout in _PLANES else set()
    if layout not in {*_CHANNELS, *_PLANES, "gray"} or set(endings) - valid:
        expected = (
            f"one of {', '.join([*_CHANNELS, 'gray', *_PLANES])} (the last two with -bt709, -full)"
        )
        raise arguments.wrong("order", expected, repr(order))
    return layout


def _of_pixels(arguments: Arguments, name: str, image: Tensor, channels: int) -> _Opened:
    """An array (H, W, channels)."""
    if image.shape[2:] != (channels,) or image.strides[1:] != (channels, 1):
        got = f"shape {image.shape} with strides {image.strides}"
        raise arguments.wrong(name, f"(height, width, {channels}) with packed pixels", got)
    return _Opened([image], *image.shape[:2])


def _of_stacked_planes(arguments: Arguments, name: str, stack: Tensor, layout: str) -> _Opened:
    """One array (H * 3 / 2, W) of luma and chroma."""
    rows, width = stack.shape[:2]
    if len(stack.shape) != 2 or rows % 3 or width % 2:
        expected = f"(height * 3 / 2, width) with even sides for {layout}"
        raise arguments.wrong(name, expected, f"shape {stack.shape}")
    if layout == "i420" and not stack.is_contiguous:
        expected = "a contiguous array for i420 (or a tuple of planes)"
        raise arguments.wrong(name, expected, f"strides {stack.strides}")
    return _Opened([stack], rows // 3 * 2, width)


def _of_planes(arguments: Arguments, name: str, planes: list[Tensor], layout: str) -> _Opened:
    """An array (H, W), for nv12 and i420 with the planes of its chroma."""
    height, width = planes[0].shape[:2]
    chroma = yuv.chroma_shapes(layout, height, width) if layout in _PLANES else []
    expected = [(height, width), *chroma]
    shapes = [plane.shape for plane in planes]
    if shapes != expected:
        raise arguments.wrong(name, f"planes of shapes {expected} for {layout}", str(shapes))
    return _Opened(planes, height, width)


def _regions(arguments: Arguments, regions: Any, opened: list[_Opened]) -> list[tuple[int, Box]]:
    if regions is None:
        return [(i, (0, 0, frame.width, frame.height)) for i, frame in enumerate(opened)]
    checked = []
    for i, region in enumerate(regions):
        try:
            number, (left, top, width, height) = region
            box = (int(left), int(top), int(width), int(height))
            inside = 0 <= number < len(opened) and min(box[:2]) >= 0 and min(box[2:]) >= 1
            inside = (
                inside
                and left + width <= opened[number].width
                and top + height <= opened[number].height
            )
        except (TypeError, ValueError, OverflowError):  # int() of infinity
            inside = False
        if not inside:
            expected = "(frame, (left, top, width, height)) inside that frame"
            raise arguments.wrong(f"regions[{i}]", expected, repr(region))
        checked.append((int(number), box))
    if not checked:
        raise arguments.wrong("regions", "at least one", "none")
    return checked
