"""The plain export of a model: `export.py MODEL FOLDER` writes model.onnx in f32 and what belongs to it, for `just bench-peers`."""

import shutil
import sys
from pathlib import Path

import torch
from transformers import AutoModel

model, folder = Path(sys.argv[1]), Path(sys.argv[2])
new = folder.with_name(folder.name + ".new")
shutil.rmtree(new, ignore_errors=True)
new.mkdir(parents=True)
for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"]:
    if (model / name).exists():
        shutil.copy(model / name, new)


class States(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = AutoModel.from_pretrained(model, attn_implementation="eager").eval()

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.encoder(input_ids, attention_mask, token_type_ids).last_hidden_state


ids = torch.ones(2, 8, dtype=torch.long)
names = ["input_ids", "attention_mask", "token_type_ids"]
rows, tokens = torch.export.Dim("rows", min=1, max=4096), torch.export.Dim("tokens", min=2, max=512)
program = torch.onnx.export(
    States().eval(),
    (ids, ids, torch.zeros_like(ids)),
    input_names=names,
    output_names=["last_hidden_state"],
    dynamic_shapes=[{0: rows, 1: tokens}] * 3,
    opset_version=18,
    dynamo=True,
)
program.save(new / "model.onnx")
new.rename(folder)
