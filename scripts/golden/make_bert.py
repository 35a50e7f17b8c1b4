"""Golden values for the BERT and RoBERTa encoders, BERTScore and the BGE-style retriever: tiny random models, float32, CPU.

    python -m venv venv && venv/bin/pip install torch "transformers<5" bert-score==0.3.13
    venv/bin/python scripts/golden/make_bert.py

Regenerates crates/model/tests/fixtures/bert; values are equal in every run, the order of metadata in expected.safetensors is
not. bert-score 0.3.13 needs transformers 4 and its slow tokenizers. Without the
package the scores come from `restated_score` below, and the header of bertscore.json says so.
"""
import importlib.metadata, json, math, os, pathlib, re, shutil, tempfile
os.environ["TOKENIZERS_PARALLELISM"] = "false"
import torch, transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModel, AutoTokenizer, BertConfig, BertForPreTraining, RobertaConfig, RobertaModel
try:
    import bert_score
except ImportError:
    bert_score = None

SEED, LIMIT = 1128, 28
OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/model/tests/fixtures/bert"
SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=36, initializer_range=0.25)
CORPUS = ["The ferry to the island leaves at nine in the morning.", "Marta keeps the old maps in a tin box under the stairs.",
          "Nine sailors waited on the island for the morning ferry.", "The box under the stairs holds letters, maps and a key.",
          "A storm closed the harbour for three days in 1974."]
TEXTS = ["The ferry leaves at nine.", "", "Caf\u00e9 na\u00efve \u2014 the OLD harbour\u2026 closed, in 1974; " + " ".join(CORPUS[:2])]
PAIRS = [("The ferry leaves at nine.", "The ferry to the island leaves at nine in the morning."),
         ("The ferry leaves at nine.", "The ferry leaves at nine."), ("", "A key."), ("A key.", "  \n"), ("", ""), ("a", "b"),
         ("maps", "In 1974 a storm closed the harbour."), ("key key key key", "key"), ("\u4f60\u597d 3,000.50", "caf\u00e9 \u2603"),
         (" ".join(CORPUS), CORPUS[4] + " " + CORPUS[0] + " " + CORPUS[1]), ("stairs", " ".join(CORPUS)), ("z", "island"),
         ("A storm closed the harbour.", "A storm closed the harbour for three days."), ("\x1c maps \x1f", "maps"), (";", "9"),
         ("maps [SEP] key", "[SEP] key?")]
QUERY, INSTRUCTION = "Where are the maps?", "Represent this sentence for searching relevant passages: "


def tokenizers(dir, slow):
    """Trains a lower-casing WordPiece or a byte-level BPE; the files of the slow ones go to another directory."""
    if dir.name == "bert":
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        letters, words = "abcdefghiklmnoprstuvwxy", sorted(set(re.findall("[a-z]{3,}", " ".join(CORPUS).lower())))
        # Not trained: the trainer breaks ties as its hash table lies. Every other word is cut in two.
        pieces = [p for i, w in enumerate(words) for p in ([w] if i % 2 else [w[:2], "##" + w[2:]])]
        vocab = dict.fromkeys(special + list(",.;") + list(letters + "14") + ["##" + c for c in letters + "4790"] + pieces)
        tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(vocab)}, unk_token="[UNK]"))
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        tokenizer.add_special_tokens(special)
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        config = dict(tokenizer_class="BertTokenizer", do_lower_case=True, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
                      sep_token="[SEP]", mask_token="[MASK]")
        (slow / "vocab.txt").write_text("".join(f"{token}\n" for token in vocab))
    else:
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet,
                                                                  show_progress=False))
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
        config = dict(tokenizer_class="RobertaTokenizer", bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
                      pad_token="<pad>", unk_token="<unk>", mask_token="<mask>")
        tokenizer.model.save(str(slow))
    text = json.dumps(dict(config, model_max_length=LIMIT), indent=1) + "\n"
    for path in (dir, slow):
        (path / "tokenizer_config.json").write_text(text)
    # Without indentation: half the size.
    (dir / "tokenizer.json").write_text(tokenizer.to_str(pretty=False) + "\n")
    return tokenizer.get_vocab_size()


def model(dir, slow, vocab):
    """A random model: BERT with prefixed keys and all heads in f32, RoBERTa with bare keys in bf16."""
    torch.manual_seed(SEED + len(dir.name))
    if dir.name == "bert":
        made = BertForPreTraining(BertConfig(vocab_size=vocab, max_position_embeddings=LIMIT, **SIZES))
    else:
        made = RobertaModel(RobertaConfig(vocab_size=vocab, max_position_embeddings=LIMIT + 2, type_vocab_size=1, layer_norm_eps=1e-5,
                                          pad_token_id=1, bos_token_id=0, eos_token_id=2, **SIZES))
    with torch.no_grad():
        for name, p in made.named_parameters():
            if "LayerNorm" in name or name.endswith("bias"):
                p.add_((0.1 if name.endswith("bias") else 0.3) * torch.randn_like(p))
            if "position_embeddings" in name or "word_embeddings" in name:
                p.copy_(torch.randn_like(p))  # the padding's row too: nothing may depend on it
    (made if dir.name == "bert" else made.to(torch.bfloat16)).save_pretrained(dir)
    (dir / "model.safetensors").rename(slow / "model.safetensors")
    # Always the same order of the metadata, and the keys as the file has them.
    save_file(load_file(slow / "model.safetensors"), dir / "model.safetensors", {"format": "pt"})
    shutil.copy(dir / "config.json", slow)


def header():
    versions = {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}
    return dict(versions, generator="scripts/golden/make_bert.py", seed=str(SEED), dtype="float32")


def expected(dir, slow):
    """Hidden states of every layer of a padded batch, other activations, CLS and mean vectors."""
    tokenizer = AutoTokenizer.from_pretrained(slow, use_fast=False)
    prefix = {"add_prefix_space": True} if dir.name == "roberta" else {}
    encode = lambda texts: tokenizer(texts, padding=True, truncation=True, max_length=LIMIT, return_tensors="pt", **prefix)
    net = AutoModel.from_pretrained(slow, dtype=torch.float32).eval()
    batch, tensors = encode(TEXTS), {}
    fast = Tokenizer.from_file(str(dir / "tokenizer.json"))
    for text, row in zip(TEXTS, batch.input_ids):
        ids = fast.encode(" " + text if prefix and text else text).ids
        ids = ids if len(ids) <= LIMIT else ids[:LIMIT - 1] + ids[-1:]
        assert ids == row[:len(ids)].tolist(), (text, ids, row)
    with torch.no_grad():
        for i, state in enumerate(net(**batch, output_hidden_states=True).hidden_states):
            tensors[f"layer{i}"] = state.contiguous()
        for act in ("gelu_new", "relu"):
            other = AutoModel.from_pretrained(slow, dtype=torch.float32, hidden_act=act).eval()
            tensors[f"act.{act}"] = other(**encode(TEXTS[:1])).last_hidden_state
        # Retrieval: the passages, then the question behind the instruction.
        batch = encode(CORPUS + [INSTRUCTION + QUERY])
        last = net(**batch).last_hidden_state
        mask = batch.attention_mask.unsqueeze(2)
        tensors["cls"] = torch.nn.functional.normalize(last[:, 0], dim=-1)
        tensors["mean"] = torch.nn.functional.normalize((last * mask).sum(1) / mask.sum(1), dim=-1)
    batch = encode(TEXTS)
    tensors["ids"], tensors["mask"] = batch.input_ids, batch.attention_mask
    save_file(tensors, dir / "expected.safetensors", header())
    for path in dir.iterdir():
        path.chmod(0o644)


def restated_score(pairs, slow, layer, idf, baseline):
    """BERTScore from its definition, for where the package is not installed; one batch, as every case here."""
    tokenizer = AutoTokenizer.from_pretrained(slow, use_fast=False)
    net = AutoModel.from_pretrained(slow, dtype=torch.float32).eval()
    prefix = {"add_prefix_space": True} if slow.name == "roberta" else {}

    def ids(text):
        text = text.strip()
        if not text:
            return tokenizer.build_inputs_with_special_tokens([])
        return tokenizer.encode(text, truncation=True, max_length=LIMIT, **prefix)

    rows = [(ids(p), ids(r)) for p, r in pairs]
    weight = {tokenizer.cls_token_id: 0.0, tokenizer.sep_token_id: 0.0}
    default = 1.0
    if idf:
        count = {}
        for _, r in rows:
            for token in set(r):
                count[token] = count.get(token, 0) + 1
        weight, default = {t: math.log((len(rows) + 1) / (c + 1)) for t, c in count.items()}, math.log(len(rows) + 1)
    unit = lambda row: torch.nn.functional.normalize(net(torch.tensor([row]), output_hidden_states=True).hidden_states[layer][0], dim=-1)
    longest = [max(len(side) for side in column) for column in zip(*rows)]
    out = []
    for p, r in rows:
        with torch.no_grad():
            sim = unit(p) @ unit(r).T
        best_p, best_r = sim.max(1)[0], sim.max(0)[0]
        best_p = best_p.clamp(min=0) if len(r) < longest[1] else best_p  # padding counts as a cosine of 0
        best_r = best_r.clamp(min=0) if len(p) < longest[0] else best_r
        mean = lambda best, row: (best * (w := torch.tensor([weight.get(t, default) for t in row])) / w.sum()).sum()
        P, R = mean(best_p, p), mean(best_r, r)
        F = torch.nan_to_num(2 * P * R / (P + R), nan=0.0)
        P, R = (torch.tensor(0.0), torch.tensor(0.0)) if len(p) == 2 or len(r) == 2 else (P, R)
        out.append(torch.stack([P, R, F]))
    out = torch.stack(out)
    if baseline is not None:
        b = torch.tensor([[float(v) for v in line.split(",")[1:]] for line in baseline.read_text().split()[1:]][layer])
        out = (out - b) / (1 - b)
    return out


def scores(slow, pairs, layer, idf, baseline):
    restated = restated_score(pairs, slow, layer, idf, baseline)
    if bert_score is None:
        return restated
    candidates, references = zip(*pairs)
    got = bert_score.score(list(candidates), list(references), model_type=str(slow), num_layers=layer, idf=idf, device="cpu", lang="en",
                           nthreads=0, rescale_with_baseline=baseline is not None, baseline_path=baseline and str(baseline))
    got = torch.stack(got, 1)
    assert torch.allclose(got, restated, atol=2e-6, equal_nan=True), (got, restated)
    return got


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    baseline = OUT / "baseline.tsv"
    baseline.write_text("LAYER,P,R,F\n0,0.1523,0.1531,0.1498\n1,0.2415512,0.24201,0.2399\n2,0.3107,0.31112,0.30845\n")
    cases = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in ("bert", "roberta"):
            dir, slow = OUT / name, pathlib.Path(temporary) / name
            dir.mkdir(), slow.mkdir()
            model(dir, slow, tokenizers(dir, slow))
            expected(dir, slow)
            runs = [(layer, idf, scaled, len(PAIRS)) for layer in (0, 1, 2) for idf in (False, True) for scaled in (False, True)]
            for layer, idf, scaled, count in runs + [(2, True, False, 1)]:
                values = scores(slow, PAIRS[:count], layer, idf, baseline if scaled else None)
                rounded = [[None if math.isnan(v) else round(v, 8) for v in row] for row in values.tolist()]
                cases.append(dict(model=name, layer=layer, idf=idf, rescaled=scaled, pairs=count, scores=rounded))
    source = f"bert-score {importlib.metadata.version('bert-score')}" if bert_score else "restated in make_bert.py"
    lines = [json.dumps(dict(header(), scores=source)), json.dumps(dict(pairs=PAIRS))] + [json.dumps(case) for case in cases]
    (OUT / "bertscore.jsonl").write_text("".join(line + "\n" for line in lines))
    text = dict(texts=TEXTS, passages=CORPUS, query=QUERY, instruction=INSTRUCTION)
    (OUT / "texts.json").write_text(json.dumps(text, indent=1) + "\n")


main()
