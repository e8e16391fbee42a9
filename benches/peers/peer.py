"""One peer of `just bench-peers`: embeds the same texts over and over, when told to.

`peer.py KIND MODEL TEXTS.jsonl THREADS`. Says `ready`; embeds all texts for each line `run`, and says the seconds that it took;
writes the vectors as little-endian f32 for a line `save PATH`. Before it says `ready` it tries some batch sizes on a part of the
texts and keeps the fastest, which `about` tells.
"""

import json
import os
import sys
import time
from pathlib import Path

kind, model, texts_path, threads = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "true"
os.environ["OMP_NUM_THREADS"] = str(threads)

import numpy as np  # noqa: E402

TEXTS = [json.loads(line) for line in open(texts_path)]
BATCHES = [8, 16, 32, 64, 128]
TRIED = min(64, len(TEXTS))


def sentence_transformers(dtype):
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    encoder = SentenceTransformer(model, device="cpu", model_kwargs={"dtype": dtype})
    return lambda texts, batch: encoder.encode(
        texts, batch_size=batch, normalize_embeddings=True, show_progress_bar=False
    ).astype(np.float32)


def fastembed():
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        model="local/model",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf="local/model"),
        dim=384,
        model_file="model.onnx",
    )
    encoder = TextEmbedding("local/model", specific_model_path=model, threads=threads)
    return lambda texts, batch: np.array(list(encoder.embed(texts, batch_size=batch)), dtype=np.float32)


def onnxruntime_loop():
    """The loop that people write: sorted by length, padded batches, mean over the mask."""
    import onnxruntime
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(model) / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(Path(model) / "model.onnx"), options, ["CPUExecutionProvider"])
    names = {value.name for value in session.get_inputs()}

    def embed(texts, batch):
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        vectors = np.zeros((len(texts), 384), dtype=np.float32)
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            encoded = tokenizer.encode_batch([texts[row] for row in rows])
            ids = np.array([item.ids for item in encoded], dtype=np.int64)
            mask = np.array([item.attention_mask for item in encoded], dtype=np.int64)
            feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            states = session.run(None, {name: value for name, value in feed.items() if name in names})[0]
            pooled = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
            vectors[rows] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return vectors

    return embed


KINDS = {
    "st-fp32": lambda: sentence_transformers("float32"),
    "st-bf16": lambda: sentence_transformers("bfloat16"),
    "fastembed": fastembed,
    "ort-loop": onnxruntime_loop,
}


def timed(embed, texts, batch):
    begun = time.monotonic()
    vectors = embed(texts, batch)
    return time.monotonic() - begun, vectors


embed = KINDS[kind]()
embed(TEXTS[:8], 8)
batch = min(BATCHES, key=lambda size: min(timed(embed, TEXTS[:TRIED], size)[0] for _ in range(2)))
print("ready", flush=True)
vectors = None
for line in sys.stdin:
    command, _, path = line.strip().partition(" ")
    if command == "save":
        vectors.astype("<f4").tofile(path)
        print("saved", flush=True)
    elif command == "about":
        print(f"batch {batch}", flush=True)
    else:
        seconds, vectors = timed(embed, TEXTS, batch)
        print(seconds, flush=True)
