"""Writes crates/model/tests/fixtures/hostile: files that are made to harm a reader, each named TARGET.WHAT as the targets of
crates/model/tests/hostile.rs, which must refuse every one of them without a panic, without waiting and without much memory.

usage: make_hostile.py      only Python's standard library
"""
import io, json, pathlib, pickle, shutil, struct, zipfile

root = pathlib.Path(__file__).resolve().parents[2] / "crates/model/tests/fixtures"
tied, out = root / "oracle/tied", root / "hostile"
shutil.rmtree(out, ignore_errors=True)
out.mkdir()


def write(name, data):
    (out / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def changed(path, **changes):
    return json.dumps({**json.loads(path.read_text()), **changes})


# config.json of the tied case.
config = tied / "base/config.json"
for name, changes in {
    "a-billion-layers": {"num_hidden_layers": 10**9}, "no-layers": {"num_hidden_layers": 0}, "vocabulary": {"vocab_size": 2**40},
    "width": {"hidden_size": 2**62}, "overflow": {"hidden_size": 2**20, "intermediate_size": 2**22, "vocab_size": 2**24},
    "beyond-u64": {"hidden_size": 2**64}, "negative": {"head_dim": -2}, "odd-head": {"head_dim": 7}, "fraction": {"vocab_size": 61.5},
    "text": {"hidden_size": "24"}, "no-heads": {"num_attention_heads": 0}, "no-kv-heads": {"num_key_value_heads": 0},
    "moe": {"model_type": "qwen3_moe"}, "yarn": {"rope_scaling": {"rope_type": "yarn"}}, "quantised": {"quantization_config": {"bits": 4}},
    "positions": {"max_position_embeddings": 2**63}, "theta": {"rope_parameters": {"rope_type": "default", "rope_theta": "ten"}},
}.items():
    write(f"config.{name}", changed(config, **changes))
write("config.empty", "")
write("config.deep", "[" * 10_000)
write("config.list", "[]")
write("config.utf16", config.read_text().encode("utf-16"))


# model.safetensors and adapter_model.safetensors: a header, then bytes.
def tensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(shape, start, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


key = "model.norm.weight"
for target in ["weights", "adapter"]:
    for name, data in {
        "empty": b"", "short": b"1234567", "header-length": struct.pack("<Q", 2**64 - 1) + b"{}", "header-40-bits": struct.pack("<Q", 2**40) + b"{}",
        "header-number": tensors(b"1"), "header-deep": tensors(b"[" * 10_000), "header-binary": tensors(bytes(range(256))),
        "beyond-the-end": tensors({key: entry([24], 0, 96)}), "backwards": tensors({key: entry([24], 96, 0)}, bytes(96)),
        "overlap": tensors({key: entry([24], 0, 96), "lm_head.weight": entry([24], 48, 144)}, bytes(144)),
        "hole": tensors({key: entry([24], 48, 144)}, bytes(144)), "tail": tensors({key: entry([24], 0, 96)}, bytes(200)),
        "overflow": tensors({key: entry([2**32, 2**32], 0, 96)}, bytes(96)), "wrong-size": tensors({key: entry([25], 0, 96)}, bytes(96)),
        "negative": tensors({key: entry([-24], 0, 96)}, bytes(96)), "type": tensors({key: entry([24], 0, 96, "F99")}, bytes(96)),
        "integers": tensors({key: entry([24], 0, 96, "I32")}, bytes(96)), "dimensions": tensors({key: entry([1] * 2_000 + [24], 0, 96)}, bytes(96)),
        "twice": tensors(b'{"%s":%s,"%s":%s}' % (key.encode(), json.dumps(entry([24], 0, 96)).encode(), key.encode(), json.dumps(entry([12], 0, 48)).encode()), bytes(96)),
        "many": tensors({f"{key}.{i}": entry([0], 0, 0) for i in range(200)}),
    }.items():
        write(f"{target}.{name}", data)

# model.safetensors.index.json.
for name, shard in {"parent": "../../../../etc/passwd", "absolute": "/etc/passwd", "itself": "model.safetensors.index.json", "directory": ".",
                    "missing": "model-00009-of-00002.safetensors", "number": 5, "null-byte": "a\0b"}.items():
    write(f"index.{name}", json.dumps({"weight_map": {"model.embed_tokens.weight": shard}}))
write("index.no-map", "{}")
write("index.text", json.dumps({"weight_map": "model.safetensors"}))
write("index.deep", '{"weight_map":' + "[" * 10_000)

# adapter_config.json.
peft = tied / "stage1/adapter_config.json"
for name, changes in {
    "rank-0": {"r": 0}, "rank": {"r": 2**40}, "negative-rank": {"r": -1}, "kind": {"peft_type": "IA3"}, "dora": {"use_dora": True},
    "saved": {"modules_to_save": ["lm_head"]}, "bad-pattern": {"rank_pattern": {"(": 4}}, "pattern": {"rank_pattern": {"(?:(?:.(?!\\n))+)+x": 4}},
    "pattern-size": {"rank_pattern": {"(" * 5000 + ")" * 5000: 4}}, "pattern-repeat": {"rank_pattern": {"((a{1000}){1000}){1000}": 4}},
}.items():
    write(f"adapter-config.{name}", changed(peft, **changes))
write("adapter-config.alpha", peft.read_text().replace('"lora_alpha":', '"lora_alpha": 1e999, "x":'))


# special_tokens_DTOKENS.pt: pickles in a zip.
class Command:
    def __init__(self, function, *arguments):
        self.parts = function, arguments

    def __reduce__(self):
        return self.parts


def archive(pickled, data=bytes(288), compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression, compresslevel=9) as file:
        for name, content in {"data.pkl": pickled, "byteorder": b"little", "data/0": data, "version": b"3\n"}.items():
            # A fixed date: the same bytes every time.
            file.writestr(zipfile.ZipInfo(f"archive/{name}"), content, compression)
    return buffer.getvalue()


import os
write("special.system", archive(pickle.dumps({"special_input_embeddings": Command(os.system, "touch hostile-pickle-ran")}, 2)))
write("special.eval", archive(pickle.dumps(Command(eval, "open('hostile-pickle-ran', 'w')"), 2)))
write("special.plain-pickle", pickle.dumps(Command(os.system, "touch hostile-pickle-ran"), 2))
good = zipfile.ZipFile(tied / "stage1/special_tokens_DTOKENS.pt")
whole = good.read(next(n for n in good.namelist() if n.endswith("data.pkl")))
write("special.storage-missing", archive(whole, b""))
write("special.stack", archive(b"\x80\x02" + b"0" * 10_000 + b"."))
write("special.deep", archive(b"\x80\x02" + b"]" * 1_000_000 + b"." , compression=zipfile.ZIP_DEFLATED))
write("special.tuple", archive(b"\x80\x02)" + b"\x85" * 1_000_000 + b".", compression=zipfile.ZIP_DEFLATED))
write("special.memo", archive(b"\x80\x02h\xff."))
write("special.long", archive(b"\x80\x02\x8b\xff\xff\xff\x7f."))
write("special.text", archive(b"\x80\x02X\xff\xff\xff\x7fabc."))
write("special.bomb", archive(b"\x80\x02" + bytes(64 << 20), compression=zipfile.ZIP_DEFLATED))
write("special.bomb-data", archive(whole, bytes(64 << 20), zipfile.ZIP_DEFLATED))
write("special.empty", "")
write("special.empty-zip", b"PK\5\6" + bytes(18))

# tokenizer.json and tokenizer_config.json.
tokenizer = json.dumps({"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None,
                        "model": {"type": "BPE", "vocab": {"a": 4294967295, "b": 1}, "merges": []}})
write("tokenizer.ids", tokenizer)
write("tokenizer.merges", tokenizer.replace('"merges": []', '"merges": ["a b c", "x"]'))
write("tokenizer.empty", "")
write("tokenizer.deep", "[" * 10_000)
write("tokenizer.null", "null")
write("tokenizer.pattern", tokenizer.replace('"pre_tokenizer": null', '"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated", "invert": false}'))
write("tokenizer.kind", tokenizer.replace("BPE", "Command"))
write("tokenizer-config.deep", "[" * 10_000)
write("tokenizer-config.text", "text")
write("tokenizer-config.cut", '{"chat_template": "')

# A file of memories.
def memories(records=b'[{"id": "a"}]', tensors_=None, data=b"", **header):
    header = {"format": "nextmem-memories", "version": "1", "model": "m", "fingerprint": "f", "num_latents": "2", "hidden_size": "4",
              "quantization": "none", "created": "1", **header}
    own = {"latents": entry([1, 2, 4], len(records), len(records) + 16, "BF16")} if tensors_ is None else tensors_
    return tensors({"__metadata__": {k: v for k, v in header.items() if v}, "records": entry([len(records)], 0, len(records), "U8"), **own},
                   records + (bytes(16) if tensors_ is None else data))


for name, data in {
    "version": memories(version="2"), "format": memories(format="other"), "no-fingerprint": memories(fingerprint=""), "created": memories(created="x"),
    "latents-0": memories(num_latents="0"), "latents": memories(num_latents="4294967295", hidden_size="4294967295"), "beyond-u64": memories(num_latents="1" * 30),
    "negative": memories(hidden_size="-4"), "quantisation": memories(quantization="int8"), "records-text": memories(records=b"not JSON"),
    "records-none": memories(records=b"[]"), "records-many": memories(records=b"[" + b'{"id":"a"},' * 2000 + b'{"id":"a"}]'),
    "records-deep": memories(records=b"[" * 10_000), "records-keys": memories(records=b'[{"id": "a", "code": "x"}]'), "no-latents": memories(tensors_={}),
    "codes-short": memories(quantization="nf4", tensors_={"codes": entry([1, 3], 13, 16, "U8")}, data=bytes(3)),
    "scales-shape": memories(quantization="nf4", tensors_={"codes": entry([1, 4], 13, 17, "U8"), "scales": entry([1, 2], 17, 19, "F8_E4M3")}, data=bytes(6)),
}.items():
    write(f"memories.{name}", data)

# A chat template that never ends, or asks for memory.
loop = "{% for i in range(100000) %}" * 4 + "x" + "{% endfor %}" * 4
write("template.loop", loop)
write("template.memory", '{{ "x" * 100000000000 }}')
write("template.doubling", '{% set ns = namespace(x="x") %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}')
write("template.recursion", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}")
write("template.syntax", "{% for")
write("template.include", '{% include "/etc/passwd" %}')
print(len(list(out.iterdir())), "files,", sum(path.stat().st_size for path in out.iterdir()), "bytes")
