"""PyTorch side of the benchmark: what `nextmem bench` measures, by transformers and PEFT, on equal weights and inputs.

usage: bench.py --workload workload.json --out peer.json [--only NAME_SUBSTRING]

See README.md for the two files and the algorithms. Exit codes: 0 results written (a failed item is an entry with
"error"), 2 bad input.
"""
import argparse, ctypes, gc, json, os, pathlib, platform, sys, threading, time, warnings
from typing import Any, Callable, NamedTuple, NoReturn

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is a local directory
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy, peft, torch, transformers
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, DynamicCache, GenerationConfig

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
ALGORITHMS = {
    "load": ["hf"],
    "encode": ["official", "cached", "cached-merged"],
    "decode": ["hf_generate"],
    "stage2": ["official", "one_forward"],
}
AGREE = 1e-3  # relative, in float32
LEARNING_RATE = 1e-4


def fail(message: object) -> NoReturn:
    print(f"error: {one_line(message)}", file=sys.stderr)
    sys.exit(2)


def one_line(message: object) -> str:
    return " ".join(str(message).split())[:300]


# ---- the workload ----

def need(table: dict, key: str, kind: type | tuple, where: str, low: int | None = None) -> Any:
    if key not in table: fail(f"{where}: {key!r} is missing")
    value = table[key]
    if not isinstance(value, kind) or isinstance(value, bool): fail(f"{where}: {key!r} has the wrong type")
    if low is not None and value < low: fail(f"{where}: {key!r} must be at least {low}")
    return value


def read_json(path: pathlib.Path) -> dict:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        fail(f"{path}: {e.strerror}")
    except ValueError as e:
        fail(f"{path}: not JSON: {e}")
    if not isinstance(table, dict): fail(f"{path}: not a JSON object")
    return table


def check_rows(item: dict, where: str, vocab: int) -> None:
    rows = need(item, "rows", list, where)
    if not rows: fail(f"{where}: no rows")
    for row in rows:
        if not isinstance(row, list) or not row: fail(f"{where}: a row must be a list of at least one id")
        if not all(type(t) is int and 0 <= t < vocab for t in row): fail(f"{where}: an id is outside 0..{vocab}")


def read_workload(path: pathlib.Path, only: str | None) -> dict:
    """The workload, refused before any weights are read if something in it cannot work."""
    w = read_json(path)
    here = str(path)
    model = pathlib.Path(need(w, "model", str, here))
    config = read_json(model / "config.json")
    vocab, hidden = (need(config, key, int, str(model / "config.json"), 1) for key in ("vocab_size", "hidden_size"))
    if not list(model.glob("*.safetensors")): fail(f"{model}: no safetensors file")
    if w.get("adapter") is not None:
        adapter = pathlib.Path(need(w, "adapter", str, here))
        read_json(adapter / "adapter_config.json")
        if not (adapter / "adapter_model.safetensors").is_file(): fail(f"{adapter}: no adapter_model.safetensors")
    if need(w, "device", str, here) not in ("cpu", "cuda"): fail(f"{here}: device is not cpu or cuda")
    if w["device"] == "cuda" and not torch.cuda.is_available(): fail("this torch sees no CUDA device")
    if need(w, "dtype", str, here) not in DTYPES: fail(f"{here}: dtype is not one of {', '.join(DTYPES)}")
    for key in ("threads", "latents", "block", "repeats"): need(w, key, int, here, 1)
    for key in ("warmup", "sod", "eot"): need(w, key, int, here, 0)
    for key in ("sod", "eot"):
        if w[key] >= vocab: fail(f"{here}: {key} is outside 0..{vocab}")
    for i, item in enumerate(need(w, "items", list, here)):
        where = f"{here}: items[{i}]"
        if not isinstance(item, dict): fail(f"{where}: not an object")
        need(item, "name", str, where)
        kind = need(item, "kind", str, where)
        if kind not in ALGORITHMS: fail(f"{where}: unknown kind {kind!r}")
        if kind in ("encode", "stage2"): check_rows(item, where, vocab)
        if kind == "stage2" and need(item, "level", int, where, 1) > w["latents"]:
            fail(f"{where}: level exceeds latents")
        if kind == "decode":
            need(item, "new_tokens", int, where, 1)
            file = pathlib.Path(need(item, "latents_file", str, where))
            size = need(item, "rows", int, where, 1) * w["latents"] * hidden * 4
            if not file.is_file(): fail(f"{where}: {file}: no such file")
            if file.stat().st_size != size: fail(f"{where}: {file}: {file.stat().st_size} bytes instead of {size}")
    w["items"] = [item for item in w["items"] if only is None or only in item["name"]]
    if not w["items"]: fail(f"no item's name contains {only!r}" if only else f"{here}: no items")
    return w


# ---- time and memory ----

class Meter:
    """Wall time and peak memory: the allocator's on CUDA, the process's resident set (VmHWM) on a CPU."""

    def __init__(self, device: str):
        self.cuda = device == "cuda"

    def sync(self) -> None:
        if self.cuda: torch.cuda.synchronize()

    def release(self) -> None:
        """Gives freed memory back, so that one algorithm's peak does not count in the next one's."""
        gc.collect()
        if self.cuda: torch.cuda.empty_cache()
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except (OSError, AttributeError):
            pass  # not glibc

    @staticmethod
    def status(key: str) -> int | None:
        try:
            for line in open("/proc/self/status", encoding="ascii", errors="replace"):
                if line.startswith(key + ":"): return int(line.split()[1]) * 1024
        except OSError:
            pass
        return None

    def start(self) -> None:
        """Starts a new peak and notes what is in use before it."""
        if self.cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self.used, self.mark = torch.cuda.memory_allocated(), None
            return
        try:
            pathlib.Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            pass
        self.used, mark = self.status("VmRSS"), self.status("VmHWM")
        # Some kernels take the write and change nothing: then only a peak above the old one is known.
        reset = mark is not None and self.used is not None and mark <= self.used + (1 << 20)
        self.mark = None if reset else mark

    def peak(self) -> int | None:
        if self.cuda: return torch.cuda.max_memory_allocated()
        high = self.status("VmHWM")
        return high if high is not None and (self.mark is None or high > self.mark) else None

    def peak_above_start(self) -> int | None:
        high = self.peak()
        return None if high is None or self.used is None else max(0, high - self.used)


def timed(meter: Meter, run: Callable[[], Any]) -> tuple[float, Any]:
    meter.sync()
    start = time.perf_counter()
    out = run()
    meter.sync()
    return time.perf_counter() - start, out


# ---- the algorithms ----

class Prefix(NamedTuple):
    """Left-padded input embeddings `[e(x); e(SoD)]`, [batch, seq, hidden]."""
    embeds: torch.Tensor
    pads: torch.Tensor
    padded: bool

    def where(self, length: int) -> dict:
        """Mask and position ids of `length` positions; no mask without padding, so that SDPA is plainly causal."""
        positions = torch.arange(length, device=self.pads.device) - self.pads[:, None]
        mask = (positions >= 0).long() if self.padded else None
        return {"attention_mask": mask, "position_ids": positions.clamp(min=0)}


def prefix(core: torch.nn.Module, rows: list[list[int]], sod: int) -> Prefix:
    longest = max(map(len, rows))
    pads = [longest - len(r) for r in rows]
    device = core.embed_tokens.weight.device
    ids = torch.tensor([[sod] * p + r + [sod] for r, p in zip(rows, pads)], device=device)
    return Prefix(core.embed_tokens(ids), torch.tensor(pads, device=device), any(pads))


def encode_official(core: torch.nn.Module, rows: list[list[int]], sod: int, count: int) -> torch.Tensor:
    """The whole prefix again for every latent; latents are fed back detached. [batch, count, hidden]"""
    start = prefix(core, rows, sod)
    embeds, out = start.embeds, []
    for _ in range(count):
        hidden = core(inputs_embeds=embeds, use_cache=False, **start.where(embeds.shape[1])).last_hidden_state
        out.append(hidden[:, -1:])
        embeds = torch.cat([embeds, out[-1].detach()], 1)
    return torch.cat(out, 1)


def encode_cached(core: torch.nn.Module, start: Prefix, count: int) -> torch.Tensor:
    """One prefill and count - 1 single-position steps. [batch, count, hidden]"""
    cache = DynamicCache(config=core.config)
    embeds, out = start.embeds, []
    for i in range(count):
        where = start.where(start.embeds.shape[1] + i)
        where["position_ids"] = where["position_ids"][:, -embeds.shape[1]:]
        hidden = core(inputs_embeds=embeds, past_key_values=cache, use_cache=True, **where).last_hidden_state
        embeds = hidden[:, -1:]
        out.append(embeds)
    return torch.cat(out, 1)


def latents_one_forward(core: torch.nn.Module, rows: list[list[int]], sod: int, count: int) -> torch.Tensor:
    """Values and gradients of encode_official, because attention is causal and fed-back latents are detached."""
    with torch.no_grad():
        start = prefix(core, rows, sod)
        fed = [encode_cached(core, start, count - 1)] if count > 1 else []
    embeds = torch.cat([start.embeds, *fed], 1)
    hidden = core(inputs_embeds=embeds, use_cache=False, **start.where(embeds.shape[1])).last_hidden_state
    return hidden[:, -count:]


def reconstruction_loss(causal: torch.nn.Module, latents: torch.Tensor, rows: list[list[int]], w: dict, full: bool):
    """Cross entropy of x and EoT in `[h_1..h_k; x_{>block k}; SoD; x; EoT]`, mean over all learnt tokens of the batch.

    Right padding needs no mask: attention is causal and padded positions are not read. `full` builds all logits.
    """
    level, device = latents.shape[1], latents.device
    tails = [r[w["block"] * level:] for r in rows]
    ids = [t + [w["sod"]] + r + [w["eot"]] for t, r in zip(tails, rows)]
    longest = max(map(len, ids))
    ids = torch.tensor([i + [w["eot"]] * (longest - len(i)) for i in ids], device=device)
    embeds = torch.cat([latents, causal.model.embed_tokens(ids)], 1)
    # [SoD] predicts x_1 and x_n predicts EoT.
    row = torch.tensor([r for r, x in enumerate(rows) for _ in range(len(x) + 1)], device=device)
    position = torch.tensor([level + len(t) + i for t, x in zip(tails, rows) for i in range(len(x) + 1)], device=device)
    target = torch.tensor([t for x in rows for t in x + [w["eot"]]], device=device)
    if full:
        logits = causal(inputs_embeds=embeds, use_cache=False).logits[row, position]
    else:
        hidden = causal.model(inputs_embeds=embeds, use_cache=False).last_hidden_state
        logits = causal.lm_head(hidden[row, position])
    return F.cross_entropy(logits.float(), target)


class Session:
    """The one copy of the weights: bare at first, then with the adapter on it, at last with the adapter merged."""

    def __init__(self, w: dict):
        self.w, self.device, self.dtype = w, w["device"], DTYPES[w["dtype"]]
        self.meter = Meter(self.device)
        self.causal = self.peft = None
        self.is_merged = False
        self.adapter: dict[str, torch.nn.Parameter] = {}
        self.loaded: dict[str, torch.Tensor] = {}

    def load(self) -> torch.nn.Module:
        model = AutoModelForCausalLM.from_pretrained(self.w["model"], dtype=self.dtype, attn_implementation="sdpa")
        model = model.to(self.device).eval()
        # On a CPU the weights can still be a mapped file that nothing has read: one number of every page reads it.
        if self.device == "cpu":
            for p in model.parameters(): p.detach().flatten()[::4096 // p.element_size()].sum()
        return model

    def bare(self) -> None:
        if self.causal is None: self.causal = self.load()

    def wrapped(self) -> None:
        self.bare()
        if self.peft is not None or self.w["adapter"] is None: return
        # The adapter in the model's dtype, as in the Rust program (PEFT would widen a bf16 one to f32).
        self.peft = peft.PeftModel.from_pretrained(self.causal, self.w["adapter"], is_trainable=True,
                                                   autocast_adapter_dtype=False, torch_device=self.device).eval()
        self.adapter = {n: p for n, p in self.peft.named_parameters() if "lora_" in n}
        for p in self.adapter.values(): p.data = p.data.to(self.device, self.dtype)
        self.loaded = {n: p.detach().cpu().clone() for n, p in self.adapter.items()}

    def reset_adapter(self) -> None:
        with torch.no_grad():
            for n, p in self.adapter.items():
                p.copy_(self.loaded[n])
                p.grad = None

    def merged(self) -> None:
        if self.is_merged: return
        self.wrapped()
        self.reset_adapter()
        self.causal, self.peft, self.adapter = self.peft.merge_and_unload(), None, {}
        self.is_merged = True


class Measured(NamedTuple):
    seconds: list[float]
    peak: int | None
    check: dict
    compare: list[torch.Tensor]  # what the algorithms of one item must agree on


def measure_load(s: Session) -> Measured:
    seconds, peaks, count = [], [], 0
    for i in range(s.w["warmup"] + s.w["repeats"]):
        s.meter.release()
        s.meter.start()
        took, model = timed(s.meter, s.load)
        if i >= s.w["warmup"]:
            seconds.append(took)
            peaks.append(s.meter.peak_above_start())
        count = sum(p.numel() for p in model.parameters())
        del model
    known = [p for p in peaks if p is not None]
    return Measured(seconds, max(known) if known else None, {"parameters": count}, [])


def measure(s: Session, run: Callable[[], Any], check: Callable[[Any], tuple[dict, list[torch.Tensor]]]) -> Measured:
    """Warm-up and repeats; the check is on the first result, before any update."""
    found, seconds = None, []
    s.meter.release()
    if s.w["warmup"] == 0: s.meter.start()
    for i in range(s.w["warmup"] + s.w["repeats"]):
        if i == s.w["warmup"] and i > 0: s.meter.start()
        took, out = timed(s.meter, run)
        if i >= s.w["warmup"]: seconds.append(took)
        if found is None: found = check(out)
        del out
    return Measured(seconds, s.meter.peak(), *found)


def measure_encode(s: Session, item: dict, algorithm: str) -> Measured:
    w, core = s.w, s.causal.model
    s.reset_adapter()

    @torch.inference_mode()
    def run():
        if algorithm == "official": return encode_official(core, item["rows"], w["sod"], w["latents"])
        return encode_cached(core, prefix(core, item["rows"], w["sod"]), w["latents"])

    def check(latents):
        latents = latents.float().cpu()
        return {"latents": latents[0, :, :8].tolist(), "norm": latents.norm().item()}, [latents]
    return measure(s, run, check)


def measure_decode(s: Session, item: dict, _algorithm: str) -> Measured:
    w, causal, count = s.w, s.causal, item["new_tokens"]
    # No end token at all: min_new_tokens alone would also mask it out of the argmax.
    causal.generation_config = GenerationConfig(pad_token_id=0, eos_token_id=None)
    data = numpy.fromfile(item["latents_file"], "<f4").astype(numpy.float32).reshape(item["rows"], w["latents"], -1)
    latents = torch.from_numpy(data).to(s.device, s.dtype)
    sod = torch.full((item["rows"], 1), w["sod"], device=s.device)

    @torch.inference_mode()
    def run():
        embeds = torch.cat([latents, causal.model.embed_tokens(sod)], 1)
        mask = torch.ones(embeds.shape[:2], dtype=torch.long, device=s.device)
        return causal.generate(inputs_embeds=embeds, attention_mask=mask, do_sample=False,
                               min_new_tokens=count, max_new_tokens=count)

    def check(ids):
        if ids.shape[1] != count: raise RuntimeError(f"generated {ids.shape[1]} tokens instead of {count}")
        return {"ids": ids.tolist()}, []
    return measure(s, run, check)


def measure_stage2(s: Session, item: dict, algorithm: str) -> Measured:
    if s.peft is None: raise ValueError("stage 2 needs an adapter")
    w, core, rows, level = s.w, s.causal.model, item["rows"], item["level"]
    s.reset_adapter()
    # eval mode is kept: all that train mode changes here is LoRA dropout, and then losses could not be compared.
    for p in s.adapter.values(): p.requires_grad_(True)
    optimizer = torch.optim.AdamW(s.adapter.values(), lr=LEARNING_RATE)
    official = algorithm == "official"

    def run():
        optimizer.zero_grad(set_to_none=True)
        latents = (encode_official if official else latents_one_forward)(core, rows, w["sod"], level)
        with s.peft.disable_adapter():
            loss = reconstruction_loss(s.causal, latents, rows, w, full=official)
        loss.backward()
        optimizer.step()
        return loss.item()

    def check(loss):
        grads = [p.grad for p in s.adapter.values() if p.grad is not None]
        norm = torch.sqrt(sum((g.float() ** 2).sum() for g in grads)).item() if grads else 0.0
        return {"loss": loss, "grad_norm": norm}, [torch.tensor(loss), torch.tensor(norm)]
    return measure(s, run, check)


# ---- all items ----

# In this order one copy of the weights serves every algorithm: nothing is loaded while another model is held, decoding
# runs without PEFT's wrappers, and the merge, which cannot be undone exactly, comes last.
PHASES: list[tuple[Callable[[Session], None], set[tuple[str, str]], Callable]] = [
    (lambda s: None, {("load", "hf")}, lambda s, item, algorithm: measure_load(s)),
    (Session.bare, {("decode", "hf_generate")}, measure_decode),
    (Session.wrapped, {("encode", "official"), ("encode", "cached")}, measure_encode),
    (Session.wrapped, {("stage2", "official"), ("stage2", "one_forward")}, measure_stage2),
    (Session.merged, {("encode", "cached-merged")}, measure_encode),
]


def disagreement(ours: list[torch.Tensor], first: list[torch.Tensor]) -> float:
    return max((((a - b).norm() / b.norm().clamp(min=1e-30)).item() for a, b in zip(ours, first)), default=0.0)


def run_one(s: Session, prepare: Callable, function: Callable, item: dict, algorithm: str) -> Measured | str:
    try:
        prepare(s)
        return function(s, item, algorithm)
    except Exception as e:  # out of memory comes in several types; the rest of the items goes on
        return one_line(f"{type(e).__name__}: {e}")


def device_name(device: str) -> str:
    if device == "cuda": return torch.cuda.get_device_name()
    try:
        for line in open("/proc/cpuinfo", encoding="utf-8", errors="replace"):
            if line.startswith("model name"): return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def write(out: pathlib.Path, report: dict) -> None:
    part = out.with_name(out.name + ".part")
    try:
        part.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        part.replace(out)
    except OSError as e:
        fail(f"{out}: {e.strerror}")


def end_with_parent() -> None:
    """`nextmem bench` keeps our standard input open for as long as it runs: when it ends, however, so do we."""
    if "NEXTMEM_ENDS_WITH_PARENT" in os.environ:
        threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(1)), daemon=True).start()


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.error = fail  # one line, without the usage
    ap.add_argument("--workload", type=pathlib.Path, required=True)
    ap.add_argument("--out", type=pathlib.Path, required=True)
    ap.add_argument("--only", metavar="NAME_SUBSTRING")
    args = ap.parse_args()

    end_with_parent()
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    w = read_workload(args.workload, args.only)
    w.setdefault("adapter", None)
    torch.set_num_threads(w["threads"])
    report = {
        "versions": {"python": platform.python_version(), "torch": torch.__version__,
                     "transformers": transformers.__version__, "peft": peft.__version__},
        "device": device_name(w["device"]), "threads": w["threads"], "dtype": w["dtype"], "items": [],
    }
    write(args.out, report)

    s = Session(w)
    done: dict[tuple[int, int], dict] = {}
    compare: dict[int, list[torch.Tensor]] = {}
    for prepare, cases, function in PHASES:
        for index, item in enumerate(w["items"]):
            for order, algorithm in enumerate(ALGORITHMS[item["kind"]]):
                if (item["kind"], algorithm) not in cases: continue
                if algorithm == "cached-merged" and w["adapter"] is None: continue
                entry = {"name": item["name"], "kind": item["kind"], "algorithm": algorithm}
                result = run_one(s, prepare, function, item, algorithm)
                if isinstance(result, str):
                    entry = {"name": item["name"], "algorithm": algorithm, "error": result}
                else:
                    entry |= {"seconds": result.seconds, "peak_bytes": result.peak, "check": result.check}
                    off = disagreement(result.compare, compare.setdefault(index, result.compare))
                    if w["dtype"] == "f32" and not off <= AGREE:
                        entry["check"]["disagrees"] = f"relative difference {off:.2e} from the first algorithm"
                done[index, order] = entry
                # After every algorithm, so that a killed process leaves what it has measured.
                report["items"] = [done[key] for key in sorted(done)]
                write(args.out, report)


if __name__ == "__main__":
    main()
