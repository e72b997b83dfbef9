"""sentence-transformers with the same weights, as a process of its own: run by the bench `embed`, not imported.

It reads {"texts": …, "folder": …, "threads": …} as its first line, and answers "ready". For each further line it embeds
all texts and answers the seconds that took; at the end of its input it writes the vectors to the path in argv.
"""

import json
import sys
import time

import numpy as np


def main() -> None:
    """Serve until the input ends."""
    import torch
    from sentence_transformers import SentenceTransformer

    asked = json.loads(sys.stdin.readline())
    torch.set_num_threads(asked["threads"])
    model = SentenceTransformer(asked["folder"], device="cpu", local_files_only=True)
    model.max_seq_length = asked["max_tokens"]
    prompt = asked.get("prompt")
    model.encode(asked["texts"][:64], prompt=prompt)  # as the others, it is warm before it is measured
    _answer("ready")
    vectors = np.empty(0)
    for _ in sys.stdin:
        started = time.perf_counter()
        vectors = model.encode(asked["texts"], prompt=prompt, normalize_embeddings=True, show_progress_bar=False)
        _answer(time.perf_counter() - started)
    np.save(sys.argv[1], vectors)


def _answer(value: float | str) -> None:
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
