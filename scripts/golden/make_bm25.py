"""Golden values for crates/model/src/method/bm25.rs: scores of rank_bm25's BM25Okapi over small corpora.

    python -m venv venv && venv/bin/pip install rank_bm25==0.2.2
    venv/bin/python scripts/golden/make_bm25.py

Regenerates crates/model/tests/fixtures/bm25.json.
"""
import importlib.metadata, json, pathlib
from rank_bm25 import BM25Okapi

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/model/tests/fixtures/bm25.json"

def words(text):
    """Lower-cased runs of letters and digits, as `bm25::words`."""
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()

FACTS = [
    "Mila Kovac lives in Porto. She works as a cook.",
    "Jonas Berg lives in Oslo, where he works as a teacher.",
    "The meeting with Mila was moved to the 3rd of May at 10:30.",
    "Porto, Porto and again Porto: Mila's favourite town.",
    "Ann said: \"the key is under the mat\".",
    "",
    "the the the the",
    "Zo\u00eb's caf\u00e9 in \u00c5lesund opens at 8; the password is x-77_Q.",
]
LONG = [" ".join(FACTS[i:] + FACTS[:i]) for i in range(3)] + FACTS[:3]
CASES = [
    (FACTS, "Where does Mila Kovac live?", {}),
    (FACTS, "Porto Porto Mila", {}),
    (FACTS, "the key under the mat", {}),
    (FACTS, "ZO\u00cb caf\u00e9 password 77", {"k1": 0.9, "b": 0.4}),
    (FACTS, "nothing matches zzz", {}),
    (FACTS, "the town of Mila", {"k1": 1.2, "b": 0.0, "epsilon": 0.1}),
    (LONG, "Mila works in Porto", {}),
    (LONG, "the teacher in Oslo", {"b": 1.0}),
    (["one two", "one two"], "one", {}),
    (["alone in here"], "alone", {}),
]

def case(passages, query, config):
    scores = BM25Okapi([words(p) for p in passages], **config).get_scores(words(query))
    return {"passages": passages, "query": query, "config": config, "scores": [float(s) for s in scores]}

OUT.parent.mkdir(parents=True, exist_ok=True)
cases = [case(*c) for c in CASES]
made = {"generator": "scripts/golden/make_bm25.py", "rank_bm25": importlib.metadata.version("rank_bm25"), "cases": cases}
OUT.write_text(json.dumps(made, indent=1) + "\n")
print(OUT, len(cases), "cases")
