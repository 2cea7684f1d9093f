"""The pixel contract for a batch of arrays: validation, planes, launch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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
        entries.append((opened[number][0], orders[number], crop, place.region(crop[3], crop[2])))

    shape = (len(entries), 3, spec.height, spec.width)
    if out is None:
        first = frames[0][0] if isinstance(frames[0], (list, tuple)) else frames[0]
        out = arguments.empty_like(first, shape, type_=dtype)
    target = arguments.output("out", out, shape, dtype)
    arguments.check_packed("out", target)
    planes = [plane for opened_frame in opened for plane in opened_frame[0]]
    arguments.apart(
        {"out": target}, {f"plane {i} of the frames": plane for i, plane in enumerate(planes)}
    )
    arguments.run(entries, target, *place.normalisation, threads)
    return out


def prepare(frame: Any, spec: InputSpec, order: Order, crop: Box | None = None) -> Entry:
    """Check a frame, or a box inside it, for :func:`launch`; arguments and errors as in :func:`preprocess`."""
    arguments = Arguments("preprocess_batch", None, names=_NAMES, public="preprocess")
    arrays, height, width = _open(arguments, "frame", frame, order)
    crop = crop or (0, 0, width, height)
    return arrays, order, crop, Preprocessor(spec).region(crop[3], crop[2])


def launch(entries: Sequence[Entry], spec: InputSpec, out: Any, stream: int | None) -> None:
    """Compute the network's input for frames in GPU memory, in one launch; ``out`` is as in :func:`preprocess`."""
    arguments = Arguments("preprocess_batch", stream, names=_NAMES, public="preprocess")
    arguments.run(entries, arguments.view("out", out), *Preprocessor(spec).normalisation, 1)


Entry = tuple[list["Tensor"], str, Box, tuple[int, int, int, int]]
"""A frame of a batch for the core: arrays, order, crop, region of the output."""
_Opened = tuple[list["Tensor"], int, int]  # arrays, height, width


def _open(arguments: Arguments, name: str, frame: Any, order: str) -> _Opened:
    layout, *endings = order.split("-")
    if layout not in {*_CHANNELS, *_PLANES, "gray"} or (
        endings and (layout not in _PLANES or set(endings) - _ENDINGS)
    ):
        expected = (
            f"one of {', '.join([*_CHANNELS, 'gray', *_PLANES])} (the last two with -bt709, -full)"
        )
        raise arguments.wrong("order", expected, repr(order))
    parts = list(frame) if layout in _PLANES and isinstance(frame, (list, tuple)) else [frame]
    views = [arguments.view(name, part) for part in parts]
    for view in views:
        if view.type != "uint8":
            raise arguments.wrong(name, "uint8", view.type)
    first = views[0]
    if 0 in first.shape or len(first.shape) < 2:
        raise arguments.wrong(name, f"an image in order {order}", f"shape {first.shape}")
    height, width = first.shape[:2]
    if layout in _CHANNELS:
        channels = _CHANNELS[layout]
        if first.shape[2:] != (channels,) or first.strides[1:] != (channels, 1):
            got = f"shape {first.shape} with strides {first.strides}"
            raise arguments.wrong(name, f"(height, width, {channels}) with packed pixels", got)
        return views, height, width
    if any(view.strides[-1] != 1 and view.shape[-1] > 1 for view in views):
        raise arguments.wrong(name, "rows of contiguous pixels", f"strides {first.strides}")
    if len(views) == 1 and layout in _PLANES:
        if len(first.shape) != 2 or height % 3 or width % 2:
            raise arguments.wrong(
                name,
                f"(height * 3 / 2, width) with even sides for {layout}",
                f"shape {first.shape}",
            )
        if layout == "i420" and not first.is_contiguous:
            expected = "a contiguous array for i420 (or a tuple of planes)"
            raise arguments.wrong(name, expected, f"strides {first.strides}")
        return views, height // 3 * 2, width
    chroma = yuv.chroma_shapes(layout, height, width) if layout in _PLANES else []
    shapes = [view.shape for view in views]
    if shapes != [(height, width), *chroma]:
        raise arguments.wrong(
            name, f"planes of shapes {[(height, width), *chroma]} for {layout}", str(shapes)
        )
    return views, height, width


def _regions(arguments: Arguments, regions: Any, opened: list[_Opened]) -> list[tuple[int, Box]]:
    if regions is None:
        return [
            (i, (0, 0, opened_frame[2], opened_frame[1])) for i, opened_frame in enumerate(opened)
        ]
    checked = []
    for i, region in enumerate(regions):
        try:
            number, (left, top, width, height) = region
            box = (int(left), int(top), int(width), int(height))
            inside = 0 <= number < len(opened) and min(box[:2]) >= 0 and min(box[2:]) >= 1
            inside = (
                inside and left + width <= opened[number][2] and top + height <= opened[number][1]
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
