"""The plain export of a model: `export.py MODEL FOLDER` writes model.onnx in f32 and what belongs to it, for `just bench-peers`."""

import shutil
import sys
from pathlib import Path

import onnxruntime
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
    """The encoder with its mask spelled out: exporting the one that transformers makes gives other states (5.24)."""

    def __init__(self):
        super().__init__()
        self.encoder = AutoModel.from_pretrained(model, attn_implementation="eager").eval()

    def forward(self, input_ids, attention_mask, token_type_ids):
        states = self.encoder.embeddings(input_ids=input_ids, token_type_ids=token_type_ids)
        hidden = (1.0 - attention_mask[:, None, None, :].to(states.dtype)) * -1e9
        for layer in self.encoder.encoder.layer:
            states = layer(states, hidden)
            states = states[0] if isinstance(states, tuple) else states
        return states


ids = torch.randint(1000, 20000, (3, 9))
mask = torch.ones_like(ids)
mask[1, 6:] = 0
types = torch.zeros_like(ids)
names = ["input_ids", "attention_mask", "token_type_ids"]
rows, tokens = torch.export.Dim("rows", min=1, max=4096), torch.export.Dim("tokens", min=2, max=512)
states = States().eval()
program = torch.onnx.export(
    states,
    (ids, mask, types),
    input_names=names,
    output_names=["last_hidden_state"],
    dynamic_shapes=[{0: rows, 1: tokens}] * 3,
    opset_version=18,
    dynamo=True,
)
program.save(new / "model.onnx")

# What is measured must be the model.
session = onnxruntime.InferenceSession(str(new / "model.onnx"), providers=["CPUExecutionProvider"])
for cut in (9, 4):
    given = [ids[:, :cut], mask[:, :cut], types[:, :cut]]
    found = session.run(None, {name: value.numpy() for name, value in zip(names, given)})[0]
    with torch.no_grad():
        expected = states.encoder(*given).last_hidden_state.numpy()
    shown = given[1].numpy().astype(bool)
    assert abs(found - expected)[shown].max() < 1e-4, "the export is not the model"
new.rename(folder)
