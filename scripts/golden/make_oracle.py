"""Reference oracle for the NextMem autoencoder on tiny random Qwen3 checkpoints (Hugging Face layout), float32, CPU.

Writes, per case: a HF checkpoint, two PEFT LoRA adapters (stage 1 merged, stage 2 encoder only), the special-token file
in the official layout, and `expected.safetensors` with every intermediate value a port has to match.

usage: make_oracle.py OUT [--seed N] [--case NAME] [--small]     one directory per case under OUT
       make_oracle.py OUT --parts BASE STAGE1 STAGE2 --sod ID --eot ID     of parts that are there, such as a trained run's
       make_oracle.py --nf4 FILE.json [--seed N]                 NF4 and e4m3 cases as integer bit patterns

Regenerates crates/model/tests/fixtures/oracle (`--small --seed 11`) and crates/quant/tests/fixtures/nf4.json (`--nf4`).
Set PYTHONHASHSEED=0 for equal adapter_config.json files (PEFT keeps the target modules in a set). Tensors are equal in
every run; the order of the metadata in the safetensors header is not.
"""
import argparse, json, pathlib, shutil
import torch, transformers, peft
from safetensors.torch import load_file, save_file
from transformers import Qwen3Config, Qwen3ForCausalLM
from peft import LoraConfig, PeftModel, get_peft_model

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CASES = {
    # head_dim != hidden/heads, grouped KV heads, untied head
    "untied": dict(hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                   head_dim=24, vocab_size=320, tie_word_embeddings=False, rope_theta=1_000_000.0, rms_norm_eps=1e-6,
                   max_position_embeddings=512),
    # tied head, multi-query, another theta and eps
    "tied": dict(hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=1,
                 head_dim=8, vocab_size=288, tie_word_embeddings=True, rope_theta=10_000.0, rms_norm_eps=1e-5,
                 max_position_embeddings=512),
}
# What is committed: the same two architectures, small enough for a repository.
SMALL = {
    "untied": dict(CASES["untied"], hidden_size=32, intermediate_size=56, num_hidden_layers=2, head_dim=12, vocab_size=160),
    "tied": dict(CASES["tied"], hidden_size=24, intermediate_size=48, vocab_size=144),
}
# Lengths: (plain batch, encoded text). The small text still runs out of blocks before the last level.
LENGTHS, SMALL_LENGTHS = (37, 53), (20, 37)
LATENTS, BLOCK, GREEDY = 15, 4, 24
# bitsandbytes' NF4 table; the method rounds it to bf16.
NF4 = torch.tensor([-1.0, -0.6961928, -0.52507305, -0.3949174, -0.28444138, -0.18477343, -0.091050036, 0.0,
                    0.079580299, 0.1609302, 0.2461123, 0.33791524, 0.44070982, 0.562617, 0.72295684, 1.0])

torch.set_num_threads(1)  # one order of summation

def lora_config():
    return LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS, bias="none", task_type="CAUSAL_LM", lora_dropout=0.0)

def randomise(module, std, gen):
    """Trainable and LoRA weights from N(0, std^2): PEFT's zero B would hide errors."""
    with torch.no_grad():
        for name, p in module.named_parameters():
            if p.requires_grad or "lora" in name:
                p.copy_(torch.randn(p.shape, generator=gen) * std)

def base_model(sizes, gen):
    """A Qwen3 whose norms are not all one and whose logits are not flat."""
    cfg = Qwen3Config(**sizes, bos_token_id=None, eos_token_id=1, pad_token_id=0)
    model = Qwen3ForCausalLM(cfg).float().eval()
    tied = cfg.tie_word_embeddings
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=gen)
            if "norm" in name: p.copy_(1 + 0.2 * noise)
            elif "embed" in name: p.copy_(noise * (0.08 if tied else 0.7))
            else: p.copy_(noise * ((1.6 if tied else 0.6) / p.shape[-1] ** 0.5))
    return model, cfg

def quantise(h):
    """NF4 as the paper stores it, from bf16 [latents, hidden]: codes, fp8 e4m3 scales [1, hidden], dequantised."""
    cb = NF4.to(torch.bfloat16)
    s = h.abs().max(0, keepdim=True)[0]
    n = h / (s + 1e-12)
    codes = (n.unsqueeze(-1) - cb).abs().argmin(-1).to(torch.uint8)
    s8 = s.to(torch.float8_e4m3fn)
    return codes, s8, cb[codes.long()] * s8.to(torch.bfloat16)

def build(case, out, seed, small):
    """Random parts, then what they compute."""
    sizes, (plain_len, text_len) = (SMALL[case], SMALL_LENGTHS) if small else (CASES[case], LENGTHS)
    gen = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model, cfg = base_model(sizes, gen)
    out.mkdir(parents=True, exist_ok=True)
    # The untied case is sharded on purpose.
    model.save_pretrained(out / "base", max_shard_size=("40KB" if small else "100KB") if case == "untied" else "5GB")
    def stage1(model):
        # Special-token delta, official file layout: nn.Embedding(3, hidden), row 2 unused.
        delta = torch.nn.Embedding(3, cfg.hidden_size)
        with torch.no_grad(): delta.weight.copy_(torch.randn(delta.weight.shape, generator=gen) * 0.1)
        m1 = get_peft_model(model, lora_config()); randomise(m1, 0.08, gen)
        m1.save_pretrained(out / "stage1")
        torch.save({"special_input_embeddings": delta.state_dict()}, out / "stage1" / "special_tokens_DTOKENS.pt")
        return m1, delta
    def stage2(merged):
        m2 = get_peft_model(merged, lora_config()); randomise(m2, 0.08, gen)
        m2.save_pretrained(out / "stage2")
        for card in out.glob("stage*/README.md"): card.unlink()  # PEFT's model card template says nothing here
        return m2
    # [SoD] is the last-but-one row; 1 is the end-of-text id.
    expect(case, out, seed, model, stage1, stage2, cfg.vocab_size - 2, 1, (plain_len, text_len), gen)

def build_parts(parts, out, seed, sod, eot):
    """What given parts compute; they are copied beside the values."""
    base, one, two = parts
    for name, part in (("base", base), ("stage1", one), ("stage2", two)):
        shutil.copytree(part, out / name, dirs_exist_ok=True)
    model = Qwen3ForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    def stage1(model):
        delta = torch.nn.Embedding(3, model.config.hidden_size)
        ours, official = one / "special_tokens.safetensors", one / "special_tokens_DTOKENS.pt"
        state = load_file(ours)["special_input_embeddings.weight"] if ours.exists() else torch.load(official)["special_input_embeddings"]["weight"]
        with torch.no_grad(): delta.weight.copy_(state.float())
        return PeftModel.from_pretrained(model, one, is_trainable=True).eval(), delta
    stage2 = lambda merged: PeftModel.from_pretrained(merged, two, is_trainable=True).eval()
    expect("parts", out, seed, model, stage1, stage2, sod, eot, SMALL_LENGTHS, torch.Generator().manual_seed(seed))

def expect(case, out, seed, model, stage1, stage2, sod, eot, lengths, gen):
    """Every value that a port has to match, into expected.safetensors."""
    (plain_len, text_len), cfg = lengths, model.config
    V = min(cfg.vocab_size, sod + 2)
    exp = {}

    ids = torch.randint(2, V - 2, (2, plain_len), generator=gen)
    with torch.no_grad():
        o = model(input_ids=ids, output_hidden_states=True)
    exp["plain.input_ids"] = ids
    for i, h in enumerate(o.hidden_states): exp[f"plain.hidden.{i}"] = h
    exp["plain.logits"] = o.logits

    # Stage 1 adapter, merged.
    m1, delta = stage1(model)
    merged = m1.merge_and_unload()
    with torch.no_grad(): exp["stage1.logits"] = merged(input_ids=ids).logits

    # Stage 2 adapter, kept apart.
    m2 = stage2(merged)

    emb = lambda t: m2.get_input_embeddings()(t) + torch.where((t >= sod).unsqueeze(-1), delta.weight[(t - sod).clamp(min=0)], torch.zeros(()))
    embs = lambda *parts: torch.cat([p if p.is_floating_point() else emb(p) for p in parts], 1)
    ce = torch.nn.CrossEntropyLoss()
    SOD, EOT = torch.tensor([[sod]]), torch.tensor([[eot]])
    def encode(x, k):
        e = embs(x, SOD); outs = []
        for _ in range(k):
            h = m2(inputs_embeds=e, output_hidden_states=True, use_cache=False).hidden_states[-1][:, -1:]
            outs.append(h); e = torch.cat([e, h.detach()], 1)
        return torch.cat(outs, 1)

    x = torch.randint(2, V - 2, (1, text_len), generator=gen)
    exp["encode.input_ids"] = x
    with torch.no_grad(): lat = encode(x, LATENTS)
    exp["encode.latents"] = lat

    # Decode: adapter off, latents + [SoD], greedy; then the same sequence teacher forced.
    with torch.no_grad(), m2.disable_adapter():
        e = embs(lat, SOD); got = []
        for _ in range(GREEDY):
            lg = m2(inputs_embeds=e, use_cache=False).logits[:, -1]
            t = lg.argmax(-1); got.append(t); e = embs(e, t.unsqueeze(0))
            if len(got) == 1: exp["decode.first_logits"] = lg
        exp["decode.greedy_ids"] = torch.stack(got, 1)
        exp["decode.teacher_logits"] = m2(inputs_embeds=embs(lat, SOD, x, EOT), use_cache=False).logits

    # Stage 1 loss: x [SoD] x [EoT], on the copy and [EoT] only (stage-1 weights, adapters off).
    target = torch.cat([x, EOT], 1)[0]
    with torch.no_grad(), m2.disable_adapter():
        lg = m2(inputs_embeds=embs(x, SOD, x, EOT), use_cache=False).logits
        exp["stage1.loss"] = ce(lg[0, text_len: text_len + target.shape[0]], target).reshape(1)

    # Stage 2 loss at level k: [h_1..h_k ; x_{>block*k} ; SoD ; x ; EoT], gradients into the stage 2 adapter only.
    params = [(n, p) for n, p in m2.named_parameters() if "lora" in n]
    for _, p in params: p.requires_grad_(True)
    losses, norms = [], []
    for k in range(1, LATENTS + 1):
        m2.zero_grad()
        h = encode(x, k)
        with m2.disable_adapter():
            lg = m2(inputs_embeds=embs(h, x[:, min(BLOCK * k, text_len):], SOD, x, EOT), use_cache=False).logits
        loss = ce(lg[0, -target.shape[0] - 1:-1], target)
        loss.backward()
        losses.append(loss.detach())
        norms.append(torch.sqrt(sum((p.grad ** 2).sum() for _, p in params if p.grad is not None)).detach())
        if k in (1, 3, LATENTS):
            for n, p in params:
                if "layers.0.self_attn.q_proj" in n or "layers.1.mlp.down_proj" in n:
                    exp[f"stage2.grad.k{k}.{n}"] = p.grad.clone()
    exp["stage2.loss"] = torch.stack(losses); exp["stage2.grad_norm"] = torch.stack(norms)

    exp["nf4.input_bf16"] = h16 = lat[0].to(torch.bfloat16)
    codes, s8, deq = quantise(h16)
    exp["nf4.codes"], exp["nf4.scales_f32"], exp["nf4.dequantized"] = codes, s8.float(), deq
    exp["index.vector"] = lat.mean(1)

    meta = {"case": case, "seed": str(seed), "sod_id": str(sod), "eot_id": str(eot), "block": str(BLOCK), "latents": str(LATENTS),
            "transformers": transformers.__version__, "peft": peft.__version__, "torch": torch.__version__, "dtype": "float32"}
    save_file({k: v.contiguous() for k, v in exp.items()}, out / "expected.safetensors", metadata=meta)
    (out / "meta.json").write_text(json.dumps(meta, indent=1))
    print(case, "losses", [round(float(v), 4) for v in losses], "greedy", exp["decode.greedy_ids"].tolist()[0][:8], "std", float(lat.std()))

def bits(t):
    """bf16 bit patterns as unsigned integers."""
    return (t.view(torch.int16).to(torch.int32) & 0xFFFF).tolist()

def build_nf4(path, seed):
    """NF4 cases (random widths, an all-zero dimension, exact midpoints, tiny and large scales) and e4m3 boundaries."""
    gen = torch.Generator().manual_seed(seed)
    cb = NF4.to(torch.bfloat16)
    cases = []
    def case(name, h):
        h = h.to(torch.bfloat16)
        codes, s8, deq = quantise(h)
        cases.append({"name": name, "shape": list(h.shape), "input_bf16": bits(h.flatten()), "codes": codes.flatten().tolist(),
                      "scales_e4m3": s8.view(torch.uint8).flatten().tolist(), "dequantized_bf16": bits(deq.flatten())})
    for std in (0.02, 1.0, 60.0):
        h = torch.randn((15, 12), generator=gen) * std
        h[:, 3] = 0
        case(f"normal {std}", h)
    mid = ((cb[:-1].float() + cb[1:].float()) / 2).to(torch.bfloat16).float()
    case("midpoints", torch.cat([mid, torch.tensor([1.0])]).reshape(16, 1).repeat(1, 3) * torch.tensor([1.0, -2.0, 0.5]))
    # Scales that e4m3 rounds to zero (2^-10 and below), to a subnormal, and to the largest, 448.
    case("scale range", torch.tensor([[1.0, -0.5, 0.25]]).T * torch.tensor([[2.0 ** -11, 2.0 ** -10, 2.0 ** -9, 0.0029, 0.017, 300.0, 448.0, 464.0]]))
    case("one latent", torch.randn((1, 5), generator=gen))
    edge = []
    for e in range(-11, 10):
        for m in (1.0, 1.0625, 1.1875, 1.3125, 1.5, 1.9375): edge += [m * 2.0 ** e, -m * 2.0 ** e]
    edge += [0.0, -0.0, 464.0, 465.0, 480.0, 1e9, float("inf"), float("-inf"), float("nan"), 1e-30]
    f = torch.tensor(edge, dtype=torch.float32)
    e4m3 = {"f32_bits": (f.view(torch.int32).to(torch.int64) & 0xFFFFFFFF).tolist(), "e4m3": f.to(torch.float8_e4m3fn).view(torch.uint8).tolist()}
    path.parent.mkdir(parents=True, exist_ok=True)
    head = {"generator": "scripts/golden/make_oracle.py --nf4", "torch": torch.__version__, "seed": seed, "codebook_bf16": bits(cb)}
    rows = ",\n".join("  " + json.dumps(c) for c in cases)
    path.write_text(json.dumps(head)[:-1] + f',\n "cases": [\n{rows}\n ],\n "e4m3": {json.dumps(e4m3)}}}\n')
    print(path)

if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out", nargs="?", type=pathlib.Path)
    ap.add_argument("--seed", type=int, default=7)
    ap.add_argument("--case", choices=CASES)
    ap.add_argument("--small", action="store_true")
    ap.add_argument("--nf4", type=pathlib.Path, metavar="FILE")
    ap.add_argument("--parts", nargs=3, type=pathlib.Path, metavar=("BASE", "STAGE1", "STAGE2"))
    ap.add_argument("--sod", type=int)
    ap.add_argument("--eot", type=int)
    a = ap.parse_args()
    if a.nf4: build_nf4(a.nf4, a.seed)
    elif a.parts and None not in (a.out, a.sod, a.eot):
        a.out.mkdir(parents=True, exist_ok=True)
        build_parts(a.parts, a.out, a.seed, a.sod, a.eot)
    elif a.out:
        for c in ([a.case] if a.case else CASES): build(c, a.out / c, a.seed, a.small)
    else: ap.error("OUT or --nf4 FILE is needed")
