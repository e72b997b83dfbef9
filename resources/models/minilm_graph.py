"""The ONNX graph of all-MiniLM-L6-v2: token ids in, unit vectors out. Built in code, so no binary blob is committed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

LAYERS, HEADS, HIDDEN, MAX_POSITIONS = 6, 12, 384, 256
LAYER_NORM_EPSILON = 1e-12
_FUSED = "com.microsoft"  # onnxruntime's own operators
_OPSET, _FUSED_OPSET, _IR_VERSION = 20, 1, 10

Weights = dict[str, NDArray[np.float32]]

# Dense layers and norms of one encoder layer: name in the graph → name in the checkpoint.
_DENSE = {"attended": "attention.output.dense", "up": "intermediate.dense", "down": "output.dense"}
_NORMS = {"attended_norm": "attention.output.LayerNorm", "down_norm": "output.LayerNorm"}


def arrange_weights(checkpoint: Mapping[str, NDArray[np.float32]]) -> Weights:
    """The graph's weights from the tensors of a BERT checkpoint (dense weights there are (out, in)).

    Query, key and value become one (384, 1152) matrix. Every token is of type 0, so that type's embedding is added
    to the positions. Raises KeyError when a tensor is missing.
    """
    token_type = checkpoint["embeddings.token_type_embeddings.weight"][0]
    weights = {
        "words": checkpoint["embeddings.word_embeddings.weight"],
        "positions": checkpoint["embeddings.position_embeddings.weight"][:MAX_POSITIONS] + token_type,
        "embedding_norm.scale": checkpoint["embeddings.LayerNorm.weight"],
        "embedding_norm.bias": checkpoint["embeddings.LayerNorm.bias"],
    }
    for layer in range(LAYERS):
        source, target = f"encoder.layer.{layer}.", f"layer{layer}."
        qkv = [f"{source}attention.self.{part}" for part in ("query", "key", "value")]
        stacked = np.concatenate([checkpoint[f"{name}.weight"] for name in qkv])
        weights[f"{target}qkv.weight"] = np.ascontiguousarray(stacked.T)
        weights[f"{target}qkv.bias"] = np.concatenate([checkpoint[f"{name}.bias"] for name in qkv])
        for ours, theirs in _DENSE.items():
            weights[f"{target}{ours}.weight"] = np.ascontiguousarray(checkpoint[f"{source}{theirs}.weight"].T)
            weights[f"{target}{ours}.bias"] = checkpoint[f"{source}{theirs}.bias"]
        for ours, theirs in _NORMS.items():
            weights[f"{target}{ours}.scale"] = checkpoint[f"{source}{theirs}.weight"]
            weights[f"{target}{ours}.bias"] = checkpoint[f"{source}{theirs}.bias"]
    return weights


def minilm_model(weights: Weights) -> bytes:
    """The serialised model (20 kB) that names ``weights`` without holding them: add them as external initializers.

    Inputs: ``token_ids`` int32 (batch, length), padded on the right; ``lengths`` int32 (batch,), special tokens
    counted. Output: ``vectors`` float32 (batch, 384), of unit length.
    """
    graph = _Graph()
    hidden = _embeddings(graph)
    for layer in range(LAYERS):
        hidden = _encoder_layer(graph, hidden, f"layer{layer}.")
    _pool(graph, hidden)
    inputs = [
        helper.make_tensor_value_info("token_ids", TensorProto.INT32, ["batch", "length"]),
        helper.make_tensor_value_info("lengths", TensorProto.INT32, ["batch"]),
    ]
    outputs = [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", HIDDEN])]
    initializers = [_external(name, array.shape) for name, array in weights.items()] + graph.constants
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_FUSED, _FUSED_OPSET)]
    onnx_graph = helper.make_graph(graph.nodes, "all-MiniLM-L6-v2", inputs, outputs, initializers)
    model = helper.make_model(onnx_graph, opset_imports=opsets, ir_version=_IR_VERSION)
    serialised: bytes = model.SerializeToString()
    return serialised


class _Graph:
    """Nodes and constants as they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: int | list[int]) -> str:
        self.constants.append(numpy_helper.from_array(np.array(value, np.int64), name))
        return name


def _embeddings(graph: _Graph) -> str:
    graph.constant("zero", 0)
    graph.constant("one", 1)
    graph.constant("first_axis", [0])
    graph.constant("second_axis", [1])
    graph.add("Shape", ["token_ids"], "length_axis", start=1, end=2)
    graph.add("Squeeze", ["length_axis", "first_axis"], "length")
    graph.add("Range", ["zero", "length", "one"], "position_ids")
    graph.add("Gather", ["words", "token_ids"], "word_vectors")
    graph.add("Gather", ["positions", "position_ids"], "position_vectors")
    graph.add("Add", ["word_vectors", "position_vectors"], "embedded")
    return _layer_norm(graph, "embedded", "embedding_norm")


def _encoder_layer(graph: _Graph, hidden: str, layer: str) -> str:
    """Attention is the fused kernel; the rest is standard operators.

    Measured on 2 AVX-512 cores, tokens/s: fused attention 13,000, single operators 12,500, MultiHeadAttention 12,300;
    SkipLayerNormalization and EmbedLayerNormalization are slower by 6 to 10% than Add and LayerNormalization.
    """
    qkv = [f"{layer}qkv.weight", f"{layer}qkv.bias", "lengths"]
    attended = graph.add("Attention", [hidden, *qkv], f"{layer}attention", domain=_FUSED, num_heads=HEADS)
    attended = _dense(graph, attended, f"{layer}attended")
    residual = graph.add("Add", [attended, hidden], f"{layer}attended_sum")
    hidden = _layer_norm(graph, residual, f"{layer}attended_norm")
    activated = graph.add("Gelu", [_dense(graph, hidden, f"{layer}up")], f"{layer}activated")
    residual = graph.add("Add", [_dense(graph, activated, f"{layer}down"), hidden], f"{layer}down_sum")
    return _layer_norm(graph, residual, f"{layer}down_norm")


def _dense(graph: _Graph, values: str, name: str) -> str:
    product = graph.add("MatMul", [values, f"{name}.weight"], f"{name}.product")
    return graph.add("Add", [product, f"{name}.bias"], f"{name}.output")


def _layer_norm(graph: _Graph, values: str, name: str) -> str:
    inputs = [values, f"{name}.scale", f"{name}.bias"]
    return graph.add("LayerNormalization", inputs, f"{name}.output", epsilon=LAYER_NORM_EPSILON)


def _pool(graph: _Graph, hidden: str) -> None:
    """Mean over the tokens that are not padding, then unit length; a mean has the direction of its sum."""
    graph.add("Cast", ["lengths"], "lengths64", to=TensorProto.INT64)
    graph.add("Unsqueeze", ["lengths64", "second_axis"], "lengths_column")
    graph.add("Less", ["position_ids", "lengths_column"], "is_token")
    graph.add("Cast", ["is_token"], "token_weight", to=TensorProto.FLOAT)
    graph.add("Unsqueeze", ["token_weight", "second_axis"], "pooling")
    graph.add("MatMul", ["pooling", hidden], "sum_row")
    graph.add("Squeeze", ["sum_row", "second_axis"], "sum")
    graph.add("LpNormalization", ["sum"], "vectors", axis=-1, p=2)


def _external(name: str, shape: tuple[int, ...]) -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
    # The checker wants a location; it is never opened, since the session holds the weights.
    tensor.external_data.add(key="location", value="session")
    return tensor
