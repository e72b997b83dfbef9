"""sentence-transformers in a process of its own, with the weights of either encoder."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from resources.cpu import available_cores
from resources.models import e5, minilm
from resources.models.embedder import E5Model, MiniLmModel


class Peer:
    """sentence-transformers in a process with its own threads."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def seconds(self) -> float:
        """Embed everything once."""
        _stream(self._process.stdin).write("embed\n")
        _stream(self._process.stdin).flush()
        return float(self._answer())

    def ask(self, asked: Mapping[str, Any]) -> None:
        """Send the texts and the model's folder; return when the model is warm."""
        _stream(self._process.stdin).write(f"{json.dumps(asked)}\n")
        _stream(self._process.stdin).flush()
        self._answer()

    def _answer(self) -> str:
        line = _stream(self._process.stdout).readline()
        if not line:
            raise RuntimeError("sentence-transformers ended before it answered; see its messages above.")
        return str(json.loads(line))


def _stream(found: IO[str] | None) -> IO[str]:
    if found is None:
        raise RuntimeError("The peer has no pipe.")
    return found


@contextmanager
def sentence_transformers(encoder: str, texts: Sequence[str], folder: Path) -> Iterator[Peer | None]:
    """Yield the ready peer, or None where it is not installed.

    Afterwards ``vectors.npy`` in ``folder`` has its vectors, (texts, dimension).
    """
    if find_spec("sentence_transformers") is None:
        yield None
        return
    asked: dict[str, Any] = {"texts": list(texts), "threads": available_cores()}
    if encoder == "english":
        asked |= {"folder": str(MiniLmModel.files.installed()), "max_tokens": minilm.MAX_POSITIONS}
    else:
        _write_e5(folder / "model")
        asked |= {"folder": str(folder / "model"), "max_tokens": e5.MAX_POSITIONS, "prompt": "passage: "}
    program = Path(__file__).with_name("sentence_transformers_peer.py")
    quiet = {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    offline = {**os.environ, **quiet, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    command = [sys.executable, "-P", str(program), str(folder / "vectors.npy")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=offline) as process:
        try:
            peer = Peer(process)
            peer.ask(asked)
            yield peer
        except BaseException:
            process.kill()
            raise


def _write_e5(folder: Path) -> None:
    """Write multilingual-e5-small as a folder of transformers: the same weights, in 32 bits."""
    packed = e5.PackedE5(E5Model.files.verified("e5-small-q4.bin"))
    words = packed.words()
    hidden, layers, heads = e5.ARCHITECTURE.hidden, e5.ARCHITECTURE.layers, e5.ARCHITECTURE.heads
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": len(words),
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden,
        "max_position_embeddings": e5.MAX_POSITIONS,
        "layer_norm_eps": 1e-12,
    }
    tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    specials = {"pad_token": "<pad>", "unk_token": "<unk>", "model_max_length": e5.MAX_POSITIONS}
    modules = [("", "models.Transformer"), ("1_Pooling", "models.Pooling"), ("2_Normalize", "models.Normalize")]
    folder.mkdir()
    (folder / "1_Pooling").mkdir()
    (folder / "2_Normalize").mkdir()
    listed = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.{kind}"}
        for number, (path, kind) in enumerate(modules)
    ]
    pooling = {"word_embedding_dimension": hidden, "pooling_mode_mean_tokens": True}
    for name, content in {
        "config.json": config,
        "tokenizer_config.json": {**tokenizer, **specials},
        "modules.json": listed,
        "1_Pooling/config.json": pooling,
    }.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "tokenizer.json").write_text(E5Model.open_tokenizer().published())
    tensors = {"embeddings.word_embeddings.weight": words, **packed.checkpoint()}
    _write_safetensors(folder / "model.safetensors", tensors)


def _write_safetensors(path: Path, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    """Write float32 tensors in the format that ``read_safetensors`` describes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor).tobytes())
