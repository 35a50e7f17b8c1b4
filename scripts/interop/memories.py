"""Reads a memory file of NextMem as a torch tensor [n, num_latents, hidden_size].

usage: memories.py FILE      prints what is in it; `load` is the part to copy

The latents are input embeddings: with the decoder of the model that made them (after stage 1) in transformers,
    model.generate(inputs_embeds=torch.cat([latents, sod_embedding], dim=1), ...)
turns them back into text, and a server that takes `prompt_embeds` takes the same tensor.
"""
import json, sys
import torch
from safetensors import safe_open

# bitsandbytes' NF4 table, rounded to bf16 as the method does.
NF4 = torch.tensor([-1.0, -0.6961928, -0.52507305, -0.3949174, -0.28444138, -0.18477343, -0.091050036, 0.0, 0.079580299,
                    0.1609302, 0.2461123, 0.33791524, 0.44070982, 0.562617, 0.72295684, 1.0]).bfloat16().float()


def load(path):
    with safe_open(path, "pt") as file:
        header, records = file.metadata(), json.loads(bytes(file.get_tensor("records").tolist()))
        if header["quantization"] == "none":
            return file.get_tensor("latents").float(), records, header
        codes, count = file.get_tensor("codes"), int(header["num_latents"]) * int(header["hidden_size"])
        values = NF4[torch.stack([codes & 15, codes >> 4], dim=2).flatten(1).int()[:, :count]]
        values = values.view(len(records), -1, int(header["hidden_size"]))
        scales = file.get_tensor("scales").float()[:, None] if "scales" in file.keys() else 1.0
        return (values * scales).bfloat16().float(), records, header


if __name__ == "__main__":
    latents, records, header = load(sys.argv[1])
    print(header)
    for record, memory in zip(records, latents):
        print(record["id"], tuple(memory.shape), f"rms {memory.square().mean().sqrt():.4f}", record.get("text", ""))
