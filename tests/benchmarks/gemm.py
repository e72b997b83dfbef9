"""Measure the machine's peak GFLOP/s with one large matrix product."""

import platform
import time
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

_GEMM_SIZE = 2_048
INSTRUCTION_SETS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "avx_vnni")
"""Those that the speed of matrix products depends on, by Linux's names."""


def instruction_sets() -> set[str]:
    """Return which of INSTRUCTION_SETS the processor has; none where the system does not list them."""
    listed = Path("/proc/cpuinfo")
    if platform.system() != "Linux" or not listed.exists():
        return set()
    lines = listed.read_text(encoding="utf-8").splitlines()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return set(flags.split()) & set(INSTRUCTION_SETS)


def gemm_gflops(threads: int) -> float:
    """Return GFLOP/s of one float32 matrix product of 2,048³, the best of five.

    By onnxruntime, as the stage's own products are: numpy's library may hold back to an older processor's instructions.
    """
    product = helper.make_node("MatMul", ["left", "right"], ["product"])
    shapes = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [_GEMM_SIZE, _GEMM_SIZE])
        for name in ("left", "right", "product")
    }
    graph = helper.make_graph([product], "gemm", [shapes["left"], shapes["right"]], [shapes["product"]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    made = {name: rng.standard_normal((_GEMM_SIZE, _GEMM_SIZE), dtype=np.float32) for name in ("left", "right")}

    def seconds() -> float:
        started = time.perf_counter()
        session.run(["product"], made)
        return time.perf_counter() - started

    return 2 * _GEMM_SIZE**3 / min(seconds() for _ in range(5)) / 1e9
