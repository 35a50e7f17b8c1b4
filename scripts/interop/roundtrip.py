"""Trained here, loaded in transformers + peft, and the other way round: the same logits, latents, losses and gradients.

usage: roundtrip.py NEXTMEM [--work DIR]      NEXTMEM is the built program; needs scripts/golden/requirements.txt

1. `nextmem run` trains two steps of each stage with LoRA; transformers + peft load the backbone and both adapters and compute the
   reference values; `nextmem parity` holds ours to them (1e-5).
2. `nextmem export --format hf` writes the merged decoder and the adapter; transformers + peft load those instead of the parts and
   must give the same logits and latents.
3. peft trains two steps of both stages and saves them as it does; `nextmem parity` holds what we compute with them to peft.
"""
import argparse, pathlib, subprocess, sys, tempfile
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BACKBONE = ROOT / "datasets/nano-backbone"
EXPERIMENT = """name = "roundtrip"
[backbone]
model = "{backbone}"
[data.facts]
train = 200
[method.nextmem]
num_latents = 15
[train.reconstruction]
steps = 2
lora = {{ rank = 4, alpha = 8.0 }}
[train.reconstruction.optim]
learning_rate = 1e-3
batch_size = 4
[train.substitution]
steps_per_level = 1
steps_last_level = 2
lora = {{ rank = 2, alpha = 6.0 }}
[train.substitution.optim]
learning_rate = 1e-3
batch_size = 4
"""
torch.set_num_threads(1)


def run(*command, cwd=None):
    print("+", *[pathlib.Path(str(c)).name if str(c).startswith("/") else c for c in command], flush=True)
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout[-3000:] + done.stderr[-3000:])
    return done.stdout


def values_of(parts, out, ids):
    run(sys.executable, HERE.parent / "golden/make_oracle.py", out, "--parts", *parts, "--sod", ids[0], "--eot", ids[1])
    return load_file(out / "expected.safetensors")


def parity(nextmem, oracle):
    lines = run(nextmem, "parity", oracle).strip().splitlines()
    print("  ", lines[-1])


def latents(model, ids, sod, count):
    embeds = model.get_input_embeddings()(torch.cat([ids, torch.tensor([[sod]])], 1))
    for _ in range(count):
        last = model(inputs_embeds=embeds, output_hidden_states=True, use_cache=False).hidden_states[-1][:, -1:]
        embeds = torch.cat([embeds, last], 1)
    return embeds[:, -count:]


def relative(a, b):
    return float((a - b).abs().max() / b.abs().max())


def exported(nextmem, work, expected, sod):
    run(nextmem, "export", "runs/roundtrip", "--format", "hf", "--out", "exported", cwd=work)
    decoder = AutoModelForCausalLM.from_pretrained(work / "exported/decoder", dtype=torch.float32).eval()
    assert AutoTokenizer.from_pretrained(work / "exported/decoder").convert_tokens_to_ids("<|start_of_document|>") == sod
    with torch.no_grad():
        # The head is tied: the two special tokens' logits come from the folded rows.
        logits = relative(decoder(input_ids=expected["plain.input_ids"]).logits[..., :sod], expected["stage1.logits"][..., :sod])
        encoder = PeftModel.from_pretrained(decoder, work / "exported/encoder").eval()
        got = latents(encoder, expected["encode.input_ids"], sod, expected["encode.latents"].shape[1])
    error = relative(got, expected["encode.latents"])
    print(f"   exported decoder: logits differ by {logits:.1e}; exported encoder: latents differ by {error:.1e}")
    assert logits < 1e-5 and error < 1e-4, "the export does not compute what its parts compute"


def trained_by_peft(work, sod, eot):
    """Two steps of plain next-token loss with peft, for each stage: what the files look like, not what is learnt."""
    generator = torch.Generator().manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(BACKBONE, dtype=torch.float32)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    x = torch.randint(2, sod, (2, 20), generator=generator)
    for stage in ("stage1", "stage2"):
        peft = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=targets, task_type="CAUSAL_LM"))
        optimizer = torch.optim.AdamW(peft.parameters(), lr=1e-2)
        for _ in range(2):
            loss = peft(input_ids=x, labels=x).loss
            optimizer.zero_grad(); loss.backward(); optimizer.step()
        peft.save_pretrained(work / stage)
        if stage == "stage1":
            delta = torch.nn.Embedding(3, model.config.hidden_size)
            with torch.no_grad(): delta.weight.copy_(torch.randn(delta.weight.shape, generator=generator) * 0.1)
            torch.save({"special_input_embeddings": delta.state_dict()}, work / stage / "special_tokens_DTOKENS.pt")
        model = peft.merge_and_unload()
    return [BACKBONE, work / "stage1", work / "stage2"]


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("nextmem", type=pathlib.Path)
    args.add_argument("--work", type=pathlib.Path)
    args = args.parse_args()
    nextmem = args.nextmem.resolve()
    work = args.work or pathlib.Path(tempfile.mkdtemp())
    work.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(BACKBONE)
    sod, eot = (tokenizer.convert_tokens_to_ids(t) for t in ("<|start_of_document|>", "<|endoftext|>"))

    (work / "roundtrip.toml").write_text(EXPERIMENT.format(backbone=BACKBONE))
    run(nextmem, "run", "roundtrip.toml", cwd=work)
    trained = work / "runs/roundtrip"
    expected = values_of([BACKBONE, trained / "stage1/weights", trained / "stage2/weights"], work / "ours", (sod, eot))
    parity(nextmem, work / "ours")
    exported(nextmem, work, expected, sod)
    values_of(trained_by_peft(work / "peft", sod, eot), work / "theirs", (sod, eot))
    parity(nextmem, work / "theirs")
    print("the same both ways")


main()
