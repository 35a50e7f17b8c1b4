"""PEFT adapters in the variations that PEFT writes, with the logits that transformers + peft compute with each.

usage: make_peft.py BASE OUT [--seed N]

Regenerates crates/model/tests/fixtures/peft (BASE = crates/model/tests/fixtures/oracle/tied/base, --seed 5). OUT/NAME holds
adapter_config.json and adapter_model.safetensors; OUT/expected.safetensors the token ids and `NAME.logits`, float32. Adapters
that a reader must refuse have no logits. Set PYTHONHASHSEED=0 for equal configs.
"""
import argparse, json, pathlib
import peft, torch, transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import Qwen3ForCausalLM

torch.set_num_threads(1)
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PLAIN = dict(r=2, lora_alpha=6, target_modules=ALL, bias="none", task_type="CAUSAL_LM")
# name -> (LoraConfig keys, dtype of the saved factors)
READ = {
    "bf16": (dict(), torch.bfloat16),
    "f16": (dict(), torch.float16),
    "rslora": (dict(use_rslora=True), torch.float32),
    "patterns": (dict(rank_pattern={"q_proj": 3, r"layers\.1\.mlp\.down_proj": 1}, alpha_pattern={r"^model.layers.0.*v_proj": 11}), torch.float32),
    "rslora-patterns": (dict(use_rslora=True, rank_pattern={"up_proj": 4}, alpha_pattern={"o_proj": 3}), torch.float32),
    "regex-targets": (dict(target_modules=r".*layers\.1\.(self_attn\.[qv]_proj|mlp\.up_proj)"), torch.float32),
    "all-linear": (dict(target_modules="all-linear"), torch.float32),
    "other-task": (dict(task_type=None), torch.float32),
}
SOME = dict(target_modules=["q_proj", "v_proj", "down_proj"])
# name -> (keys of the saved config that are changed afterwards, in the order of the file; change of the keys of the factors)
EDITED = {
    "alpha-general-first": (dict(alpha_pattern={"q_proj": 16, "layers.1.self_attn.q_proj": 64}), None),
    "alpha-special-first": (dict(alpha_pattern={"layers.1.self_attn.q_proj": 64, "q_proj": 16}), None),
    "fewer-targets": (dict(target_modules=["q_proj", "v_proj"]), None),
    "excluded": (dict(exclude_modules=".*layers.0.*v_proj"), None),
    "one-layer": (dict(layers_to_transform=[1]), None),
    "default-names": (dict(), lambda k: k.replace(".weight", ".default.weight")),
}
REFUSED = {
    "dora": dict(use_dora=True),
    "lora-bias": dict(lora_bias=True),
    "modules-to-save": dict(modules_to_save=["embed_tokens"]),
    "token-indices": dict(trainable_token_indices=[3, 4]),
}


def adapter(base, keys, seed, out, dtype):
    model = get_peft_model(Qwen3ForCausalLM.from_pretrained(base, dtype=torch.float32), LoraConfig(**{**PLAIN, **keys}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:  # PEFT's zero B would hide errors
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    model.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    file = out / "adapter_model.safetensors"
    save_file({k: v.to(dtype).contiguous() for k, v in load_file(file).items()}, file, metadata={"format": "pt"})
    config = json.loads((out / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = None
    config["a_key_of_a_later_version"] = {"x": 1}
    if keys.get("task_type", "CAUSAL_LM") is None:
        config["auto_mapping"] = {"base_model_class": "NextMemQwen", "parent_library": "models.NextMemQwen"}
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("base", type=pathlib.Path)
    args.add_argument("out", type=pathlib.Path)
    args.add_argument("--seed", type=int, default=5)
    args = args.parse_args()
    base = Qwen3ForCausalLM.from_pretrained(args.base, dtype=torch.float32).eval()
    ids = torch.randint(0, base.config.vocab_size, (2, 9), generator=torch.Generator().manual_seed(args.seed))
    expected = {"ids": ids, "base.logits": base(ids).logits.detach()}
    for number, (name, (keys, dtype)) in enumerate(READ.items()):
        out = args.out / name
        adapter(args.base, keys, args.seed + number, out, dtype)
        config = json.loads((out / "adapter_config.json").read_text())
        if config.get("auto_mapping"):  # the class is not importable here; the weights are what counts
            plain = {k: v for k, v in config.items() if k != "auto_mapping"}
            (out / "adapter_config.json").write_text(json.dumps(plain))
        model = PeftModel.from_pretrained(Qwen3ForCausalLM.from_pretrained(args.base, dtype=torch.float32), out).eval()
        (out / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        expected[f"{name}.logits"] = model(ids).logits.detach()
        assert (expected[f"{name}.logits"] - expected["base.logits"]).abs().max() > 1e-2, name
    for name, (keys, rename) in EDITED.items():
        out = args.out / name
        adapter(args.base, SOME, args.seed, out, torch.float32)
        config = json.loads((out / "adapter_config.json").read_text()) | keys
        (out / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
        file = out / "adapter_model.safetensors"
        if rename:
            save_file({rename(k): v for k, v in load_file(file).items()}, file, metadata={"format": "pt"})
        model = PeftModel.from_pretrained(Qwen3ForCausalLM.from_pretrained(args.base, dtype=torch.float32), out).eval()
        expected[f"{name}.logits"] = model(ids).logits.detach()
    for name, keys in REFUSED.items():
        adapter(args.base, keys, args.seed, args.out / name, torch.float32)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__, "seed": str(args.seed)}
    save_file({k: v.contiguous() for k, v in expected.items()}, args.out / "expected.safetensors", metadata=versions)
    print(f"wrote {args.out}")


main()
