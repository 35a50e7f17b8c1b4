"""Writes crates/model/tests/fixtures/chats.jsonl: conversations rendered by transformers' apply_chat_template with the template of the
nano backbone, which is Qwen3's. `messages` and `tools` are JSON texts, because the order of their keys counts. And tokens.jsonl: texts
as its tokenizer encodes and decodes them, `plain` without looking for added tokens.

usage: make_chats.py      needs transformers
"""
import json, pathlib
from transformers import AutoTokenizer

root = pathlib.Path(__file__).resolve().parents[2]
tokenizer = AutoTokenizer.from_pretrained(root / "datasets/nano-backbone")
weather = {"type": "function", "function": {"name": "weather", "description": "Zeigt \"das\" Wetter <heute> & morgen \u00fc\u2603", "parameters": {
    "type": "object", "required": ["town"], "properties": {"town": {"type": "string"}, "days": {"type": "integer", "default": 1}}}}}
call = {"role": "assistant", "content": "I look.", "tool_calls": [{"type": "function", "function": {
    "name": "weather", "arguments": {"town": "Porto \U0001f600", "days": 2, "exact": True, "scale": 1.5, "none": None, "list": [1, [], {}], "b": {"z": 1, "a": 2}}}}]}
text = {"role": "assistant", "content": "", "tool_calls": [{"name": "weather", "arguments": "{\"town\":\"Oslo\"}"}]}
user = {"role": "user", "content": "How is the weather?"}
cases = [
    ("tools without a system message", [user], [weather], True, False),
    ("calls and answers", [{"role": "system", "content": "Be brief."}, user, call, {"role": "tool", "content": "sun"}, {"role": "tool", "content": "rain"}],
     [weather, {"name": "second", "a": 1}], True, True),
    ("arguments as text", [user, text, {"role": "tool", "content": "snow"}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nSnow."}, user], None, False, True),
]
lines = []
for name, messages, tools, generation, thinking in cases:
    rendered = tokenizer.apply_chat_template(messages, tools=tools, add_generation_prompt=generation, enable_thinking=thinking, tokenize=False)
    texts = {"messages": json.dumps(messages), "tools": tools and json.dumps(tools)}
    lines.append(json.dumps({"name": name, **texts, "add_generation_prompt": generation, "enable_thinking": thinking, "rendered": rendered}))
(root / "crates/model/tests/fixtures/chats.jsonl").write_text("\n".join(lines) + "\n")

texts = ["", " ", "\n\n", "Alice lives in Porto and works as a baker.", "Hello, world!", "  two  spaces ", "tab\tand\nline\r\nends", "1984", "3.14159", "12,345.67 EUR",
    "caf\u00e9 cafe\u0301", "Z\u00fcrich \u00df \u1e9e", "\u4f60\u597d\u4e16\u754c", "\u3053\u3093\u306b\u3061\u306f", "\ud55c\uad6d\uc5b4", "\u0645\u0631\u062d\u0628\u0627", "\u0928\u092e\u0938\u094d\u0924\u0947",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467", "don't they'll I'M we've", "def f(x):\n    return x ** 2  # square\n", "<b>bold</b> &amp;", "a\u00a0b\u2009c", "\u200b\ufeffzero", "x" * 40,
    "UPPER lower MiXeD", "e=mc^2; a<=b != c", "https://example.org/a?b=c#d", "\u0130\u0131 \ufb01 \u2160", "\ufffd\x00\x07", "line\u2028separator", "<|im_start|>user\nhi<|im_end|>\n", "<|im_end|", "<think>\n\n</think>", "<|start_of_document|>text<|endoftext|>"]
lines = []
for text in texts:
    ids = tokenizer.encode(text, add_special_tokens=False)
    plain = tokenizer._encode_without_added_tokens(text)
    lines.append(json.dumps({"text": text, "ids": ids, "plain": plain, "decoded": tokenizer.decode(ids, skip_special_tokens=True)}))
(root / "crates/model/tests/fixtures/tokens.jsonl").write_text("\n".join(lines) + "\n")
