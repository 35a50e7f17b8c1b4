"""Writes crates/model/tests/fixtures/chats.jsonl: conversations rendered by transformers' apply_chat_template with the template of the
nano backbone, which is Qwen3's. `messages` and `tools` are JSON texts, because the order of their keys counts.

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
