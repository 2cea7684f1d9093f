"""A tiny open network, its definition in float64, label banks for it, and photos to teach it from."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from pvlr_sdk import LabelBank
from pvlr_sdk.bundle.bundle import labels_path

MAX, WIDTH, DEPTH, STRIDE, SIZE, ALPHA, SPACE = 6, 8, 16, 8, (32, 40), 1.5, "tiny 0123"
FEATURES = "tiny features"
NAMES = ["person", "cat", "coffee cup", "rocket"]
RANDOM = np.random.default_rng(3)
KERNEL = RANDOM.normal(0, 0.15, (DEPTH, 3, STRIDE, STRIDE)).astype(np.float32)
KEYS, VALUES = RANDOM.normal(0, 0.5, (2, WIDTH, DEPTH)).astype(np.float32)
TOKENS = SIZE[0] // STRIDE * SIZE[1] // STRIDE
COLOURS = {"red": (40, 40, 220), "green": (40, 200, 40), "blue": (210, 60, 40)}


def forward(image: np.ndarray, bank: LabelBank) -> tuple[np.ndarray, np.ndarray]:
    """The network in float64, without padding: (3, H, W) -> logits (C,), similarity (N, C)."""
    rows, columns = SIZE[0] // STRIDE, SIZE[1] // STRIDE
    patches = image.astype(np.float64).reshape(3, rows, STRIDE, columns, STRIDE)
    tokens = np.maximum(
        np.einsum("irykx,diyx->rkd", patches, KERNEL.astype(np.float64)), 0
    ).reshape(TOKENS, DEPTH)
    features = tokens.mean(0) / np.linalg.norm(tokens.mean(0))
    labels = bank.embeddings.astype(np.float64)
    worded = labels.any(1)
    gains = worded if bank.gains is None else bank.gains * worded
    biases = 0 if bank.biases is None else bank.biases
    taught = (
        np.zeros((len(bank), DEPTH)) if bank.weights is None else bank.weights.astype(np.float64)
    )
    keys, values = labels @ KEYS, labels @ VALUES
    weights = np.exp(tokens @ keys.T) * worded  # labels without words are not read
    tokens = tokens + weights / weights.sum(1, keepdims=True) @ values
    similarity = tokens @ keys.T / 8
    weights = np.exp(ALPHA * similarity)
    logits = (weights / weights.sum(0) * similarity).sum(0) - 0.5
    return logits * gains + biases + taught @ features, similarity * worded


def write_network(
    folder: Path, bank: LabelBank, *, labels: str = "labels", spec: dict | None = None
) -> Path:
    """The same in ONNX, as ``pvlr export --open`` writes it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def node(operator, inputs, output, **attributes):
        return helper.make_node(operator, inputs.split(), [output], **attributes)

    constants = {
        "kernel": KERNEL, "keys": KEYS, "values": VALUES, "one": np.float32(1), "many": np.float32(1e4),
        "eighth": np.float32(1 / 8), "alpha": np.float32(ALPHA), "bias": np.float32([-0.5]),
        "shape": np.array([0, DEPTH, -1]), "tokens_axis": np.array([1]),
    }  # fmt: skip
    nodes = [
        node("Conv", "image kernel", "convolved", strides=[STRIDE, STRIDE]),
        node("Relu", "convolved", "active"),
        node("Reshape", "active shape", "flat"),
        node("Transpose", "flat", "tokens", perm=[0, 2, 1]),
        node("MatMul", f"{labels} keys", "k"),
        node("Transpose", "k", "k_t", perm=[1, 0]),
        node("MatMul", f"{labels} values", "v"),
        node("Sub", "label_mask one", "absent"),
        node("Mul", "absent many", "masked"),
        node("MatMul", "tokens k_t", "affinity"),
        node("Add", "affinity masked", "allowed"),
        node("Softmax", "allowed", "read", axis=-1),
        node("MatMul", "read v", "update"),
        node("Add", "tokens update", "new_tokens"),
        node("MatMul", "new_tokens k_t", "scaled"),
        node("Mul", "scaled eighth", "cosine"),
        node("Mul", "cosine label_mask", "similarity"),
        node("Mul", "cosine alpha", "sharpened"),
        node("Softmax", "sharpened", "attention", axis=1),
        node("Mul", "attention cosine", "weighted"),
        node("ReduceSum", "weighted tokens_axis", "pooled", keepdims=0),
        node("Add", "pooled bias", "usual"),
        node("Mul", "usual label_gains", "scaled_usual"),
        node("ReduceMean", "tokens", "mean", axes=[1], keepdims=0),
        node("Mul", "mean mean", "squares"),
        node("ReduceSum", "squares tokens_axis", "square", keepdims=1),
        node("Sqrt", "square", "length"),
        node("Div", "mean length", "features"),
        node("Transpose", "label_weights", "weights_t", perm=[1, 0]),
        node("MatMul", "features weights_t", "taught"),
        node("Add", "taught label_biases", "added"),
        node("Add", "scaled_usual added", "logits"),
    ]

    def value(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        "open",
        [value("image", "batch", 3, *SIZE), value(labels, MAX, WIDTH), value("label_biases", MAX),
         value("label_mask", MAX), value("label_gains", MAX), value("label_weights", MAX, DEPTH)],
        [value("logits", "batch", MAX), value("similarity", "batch", TOKENS, MAX), value("features", "batch", DEPTH)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    description = {
        "name": "tiny open",
        "input": {"width": SIZE[1], "height": SIZE[0], "mean": [127] * 3, "std": [128] * 3},
        "attention": {"rows": SIZE[0] // STRIDE, "columns": SIZE[1] // STRIDE, "alpha": ALPHA},
        "fp32_until": "active",
        "open": {
            "max_labels": MAX,
            "width": WIDTH,
            "space": SPACE,
            "feature_width": DEPTH,
            "features": FEATURES,
        },
    }
    helper.set_model_props(model, {"pvlr": json.dumps({**description, **(spec or {})})})
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model-open.onnx")
    bank.save(labels_path(folder / "model-open.onnx"))
    return folder / "model-open.onnx"


def build_plan(folder: Path) -> Path:
    """The plan of the network with four labels."""
    from pvlr_sdk.workshop.compile.build import build

    network = write_network(folder, make_bank())
    build(network, network.with_name("engine.plan"))
    return network.with_name("engine.plan")


def make_bank(
    count: int = len(NAMES), seed: int = 0, width: int = WIDTH, space: str | None = SPACE
) -> LabelBank:
    random = np.random.default_rng(seed)
    names = [*NAMES, *(f"label {seed} {index}" for index in range(1000))][:count]
    embeddings = random.normal(0, 0.7, (count, width)).astype(np.float16)
    thresholds = random.uniform(0.2, 0.8, count).astype(np.float32)
    biases = random.normal(0, 0.3, count).astype(np.float32)
    return LabelBank(
        names, embeddings, thresholds, {"space": space} if space else {}, biases=biases
    )


def random_bank(
    count, seed, *, width=WIDTH, depth=DEPTH, space=SPACE, features=FEATURES, without=0
):
    """A bank of taught labels, ``without`` words in the first of them."""
    random = np.random.default_rng(seed)
    embeddings = random.normal(0, 0.7, (count, width)).astype(np.float16)
    embeddings[:without] = 0
    low, high = np.sort(random.uniform(0.1, 0.9, (2, count)), axis=0).astype(np.float32)
    text = {"space": space, "features": features, "taught": {"label 0": {"positives": 3}}}
    biases, gains = random.normal(0, 0.3, (2, count)).astype(np.float32)
    weights = random.normal(0, 1, (count, depth)).astype(np.float16)
    names = [f"label {index}" for index in range(count)]
    return LabelBank(
        names, embeddings, low, text, high, biases=biases, gains=1 + gains, weights=weights
    )


def check(result, frame: np.ndarray, bank: LabelBank) -> None:
    """A result is that of the definition with this bank."""
    image = np.ascontiguousarray((frame[:, :, ::-1].astype(np.float32) - 127) / 128).transpose(
        2, 0, 1
    )
    logits, similarity = forward(image, bank)
    np.testing.assert_allclose(result.logits, logits, atol=1e-5)
    for column, name in enumerate(bank.names):
        weights = np.exp(ALPHA * similarity[:, column])
        np.testing.assert_allclose(
            result.attention(name, "grid").ravel(), weights / weights.sum(), atol=1e-6
        )
    assert list(result.scores_by_label) == bank.names
    np.testing.assert_array_equal(result.thresholds, bank.thresholds)
    assert result.bank == bank.sha256


def paint(seed, *colours):
    """A picture with a field of each colour on noise, uint8 (H, W, 3)."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 120, (*SIZE, 3))
    for place, colour in enumerate(colours):
        pixels[:, 16 * place : 16 * place + 16] = np.clip(
            COLOURS[colour] + random.normal(0, 15, (SIZE[0], 16, 3)), 0, 255
        )
    return pixels.astype(np.uint8)


def draw(path, *colours, seed=0):
    """A photo of such a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), paint([seed, *path.name.encode()], *colours))
    return path
