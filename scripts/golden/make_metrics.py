"""Golden values for every metric: invented pairs and rankings scored by the reference Python packages.

    python -m venv venv
    venv/bin/pip install rouge-score==0.1.2 sacrebleu==2.6.0 nltk==3.10.4 pytrec_eval-terrier==0.5.11 scikit-learn==1.9.1 \\
        numpy==2.4.6 regex==2026.11.15
    venv/bin/python scripts/golden/make_metrics.py

Regenerates, below crates/eval: tests/fixtures/metrics.jsonl (a header, then one pair a line), tests/fixtures/rankings.jsonl (a
header, then one ranking a line), tests/fixtures/wordnet/ (a WordNet of our own words) and src/normalize/not_word.rs. All texts are
our own; those of text_metrics.py are scored again with every metric.

    venv/bin/python scripts/golden/make_metrics.py --score PAIRS.jsonl [--wordnet DIR]

prints the columns of `nextmem metrics PAIRS.jsonl --all` as the packages compute them (fidelity, which has no package, aside).
"""
import argparse, importlib.metadata, json, pathlib, random, re
import nltk
import numpy as np
import pytrec_eval
import regex
import sacrebleu
from nltk.corpus.reader.wordnet import WordNetCorpusReader
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from nltk.translate.meteor_score import single_meteor_score
from rouge_score import rouge_scorer
from sklearn.metrics import dcg_score, ndcg_score

from text_metrics import BIRDS, HARBOUR, LAB, LETTER, PAIRS, squad_f1, squad_normal

EVAL = pathlib.Path(__file__).resolve().parents[2] / "crates/eval"
PACKAGES = ("rouge-score", "sacrebleu", "nltk", "pytrec_eval-terrier", "scikit-learn", "numpy", "regex")
WORDS = ("the a an of and ship sea sees seeing seas ships running ran runner happily happy happiness 1874 12,500 3.5 -7 don't "
         "it's well-known Velmora Mila Porto NATO na\u00efve caf\u00e9 cafe\u0301 \u6e2f\u53e3 \u8239 \u6771\u4eac \u0434\u043e\u043c \u0414\u043e\u043c "
         "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u0928\u092e\u0938\u094d\u0924\u0947 \U0001f30a \U0001f469\u200d\U0001f680 ... -- ! ? , . ( ) & &amp; a\u093e an\u24d0 "
         "\u039f\u0394\u039f\u03a3 \u0130 \u00df ly ies sses generalizations alli *ding y yyy").split()

# (kind, reference, prediction), beside those of text_metrics.py
MORE = [
    ("empty", "\u00a0\u3000", ""),
    ("empty", "\u200b", "\u200b"),
    ("control", "a\x1cb\x00c\x85d\x0be", "a b c d e"),
    ("cjk", "\u6771\u4eac\u306f\u65e5\u672c\u306e\u9996\u90fd\u3067\u3059\u3002", "\u6771\u4eac\u306f\u65e5\u672c\u306e\u5927\u304d\u306a\u9996\u90fd\u3067\u3059\u3002"),
    ("cjk", "\uff11\uff18\uff17\uff14\u5e74 \u6e2f", "1874\u5e74 \u6e2f"),
    ("hangul", "\uc11c\uc6b8\uc740 \ud55c\uad6d\uc758 \uc218\ub3c4 \uc785\ub2c8\ub2e4", "\uc11c\uc6b8\uc740 \uc218\ub3c4 \uc785\ub2c8\ub2e4"),
    ("rtl", "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd, \u05de\u05d4 \u05e0\u05e9\u05de\u05e2\u061f", "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd \u05de\u05d4 \u05e0\u05e9\u05de\u05e2"),
    ("rtl", "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645 \u0661\u0668\u0667\u0664", "\u0645\u0631\u062d\u0628\u0627 \u0661\u0668\u0667\u0664"),
    ("accents", "Re\u0301sume\u0301 d'e\u0301te\u0301 na\u0308\u0308ive", "R\u00e9sum\u00e9 d'\u00e9t\u00e9 n\u00e4ive"),
    ("emoji", "\U0001f469\u200d\U0001f680 flew \U0001f30a\ufe0f twice \U0001f1f5\U0001f1f9", "\U0001f469\U0001f680 flew \U0001f30a twice \U0001f1f5 \U0001f1f9"),
    ("nbsp", "12\u00a0500 tonnes\u202fof\u2007granite", "12 500 tonnes of granite"),
    ("marks", "a\u093e the\u24d0 an\u0905 a\u0966 the\u0bbe a\u0301", "the a\u093e \u24d0 an\u0905 \u0966 \u0bbe"),
    ("case", "\u0130stanbul \u039f\u0394\u039f\u03a3 \u039f\u0394\u039f\u03a3. \u1e9eO \u01c5ep", "i\u0307stanbul \u03bf\u03b4\u03bf\u03c2 \u03bf\u03b4\u03bf\u03c2. \u00dfo \u01c6ep"),
    ("repeated", "so " * 40, "so " * 17),
    ("repeated", "ab " * 9, "ab ba " * 9),
    ("repeated", "the the the the cat cat", "cat the cat the the"),
    ("punctuation", "... --- !!! ?? ,, ;;", "--- ... ?? !!! ,,"),
    ("punctuation", "\u2014\u2026\u00ab\u00bb\u3001\u3002", "\u2014\u2026\u00ab\u00bb\u3001\u3002"),
    ("numbers", "-7, 3.50 and 12,500.00 on 2021-05-03; 1990s; 1e5", "-7 3.5 and 12500 on May 3, 2021; 1990s; 100000"),
    ("stems", "a*ding (running cats' cats, y yy \u00e9ies dies\u00e9 generalization's a--ed \u00df\u00dfies", "ad (run cats cats y yi \u00e9ie die\u00e9 generalization a- \u00df\u00dfi"),
    ("stems", "caf\u00e9s hopping, hopping happily! \u0434\u043e\u043c\u0430s naively", "caf\u00e9 hop hopped happy! \u0434\u043e\u043c\u0430 naive"),
    ("long word", "y" * 300 + "ing " + "allialli", "y" * 300 + " alli"),
    ("last match", "a c a b a c a b", "a b c a b"),
    ("crossing", "one two three four five six", "six five four three two one"),
]

# A WordNet of invented senses: (kind, words); the marks of adjectives, capitals, several parts, exceptions and every ending.
SYNSETS = [
    ("noun", ["ship", "vessel", "Argo"]), ("noun", ["vessel", "jar", "clay_pot"]), ("noun", ["harbour", "port", "haven"]),
    ("noun", ["wolf", "Lupus"]), ("noun", ["church", "chapel"]), ("noun", ["man", "fellow"]), ("noun", ["berri", "fruit"]),
    ("noun", ["bus", "coach"]), ("noun", ["mouse", "rodent"]), ("noun", ["box", "case"]), ("noun", ["fizz", "foam"]), ("noun", ["dish", "plate"]),
    ("verb", ["see", "spot", "make_out"]), ("verb", ["run", "dash"]), ("verb", ["go", "walk"]), ("verb", ["carri", "bear"]),
    ("verb", ["make", "build"]), ("verb", ["plant", "sow"]), ("verb", ["ship", "send"]),
    ("adj", ["happi(a)", "glad(p)", "content"]), ("adj", ["big", "large", "great(ip)"]), ("adj", ["late", "tardi"]), ("adj", ["good", "fine"]),
    ("adv", ["well", "good", "nice"]), ("adv", ["twice", "doubli"]),
]
EXCEPTIONS = {"noun": ["mice mouse", "wolves wolf", "wolv wolf"], "verb": ["went go", "saw see", "ran run", "us make"],
              "adj": ["better good", "biggest big"], "adv": ["best well"]}
# (reference, prediction): words that are synonyms, before and after stemming, and words that are not.
SYNONYMS = [
    ("the ship left the harbour", "the vessel left the port"),
    ("ships went into harbours", "vessels walked into ports and havens"),
    ("Argo was a jar", "ship was a vessel"),
    ("a wolf and mice near the church", "a lupus and a mouse near the chapel"),
    ("mice saw wolves", "rodents spotted wolf"),
    ("good good fine", "well nice good"),
    ("biggest late larger", "large tardy big"),
    ("he was happy and glad", "he was content and happily"),
    ("clay pot make out", "vessel see"),
    ("run dash walk go", "dash run went walks"),
    ("plate box bus fizz man", "dishes boxes buses fizzes men"),
    ("plate case coach foam fellow fruit", "dish box bus fizz man berry"),
    ("carry bear sow", "bears planting carries"),
    ("vessel ship vessel jar", "jar vessel ship"),
    ("us send", "make ship"),
    ("clay_pot make_out", "jar see"),
    ("", "ship"),
    ("\u6e2f ship!", "\u6e2f vessel!"),
]

class Reader(WordNetCorpusReader):
    """NLTK's reader without what needs other downloads: the map to an older version."""
    def map_wn(self, version="wordnet"):
        return None

def open_wordnet(root):
    nltk.data.path.append(str(root))  # NLTK reads only directories that are named as its data
    return Reader(str(root), None)

class NoWordNet:
    def synsets(self, word):
        return []

NO_WORDNET = NoWordNet()
METHOD1 = SmoothingFunction().method1
ROUGE = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)

def meteor(prediction, reference, wordnet=NO_WORDNET):
    return float(single_meteor_score(reference.split(), prediction.split(), wordnet=wordnet))

def columns(prediction, reference, wordnet=NO_WORDNET):
    rouge = ROUGE.score(reference, prediction)
    return {
        "f1": float(squad_f1(prediction, reference)),
        "exact_match": float(squad_normal(prediction) == squad_normal(reference)),
        "rouge_1": float(rouge["rouge1"].fmeasure), "rouge_l": float(rouge["rougeL"].fmeasure),
        "bleu": sacrebleu.sentence_bleu(prediction, [reference], use_effective_order=True).score / 100,
        "bleu_nltk": float(sentence_bleu([reference.split()], prediction.split(), smoothing_function=METHOD1)),
        "meteor": meteor(prediction, reference, wordnet),
        "rouge_2": float(rouge["rouge2"].fmeasure),
        "chrf": sacrebleu.sentence_chrf(prediction, [reference]).score / 100,
    }

def corpus_bleu(pairs):
    return sacrebleu.corpus_bleu([p for _, _, p in pairs], [[r for _, r, _ in pairs]]).score / 100

def drawn(rng):
    """Pairs of words drawn from a list, the prediction an edit of the reference."""
    for _ in range(60):
        reference = [rng.choice(WORDS) for _ in range(rng.randrange(1, 30))]
        prediction = [rng.choice(WORDS) if rng.random() < 0.2 else word for word in reference if rng.random() < 0.85]
        if rng.random() < 0.4:
            rng.shuffle(prediction)
        space = rng.choice([" ", "  ", "\t", "\u00a0", "\n", ""])
        yield ("drawn", " ".join(reference), space.join(prediction))

def header(versions=PACKAGES, **more):
    return {"generator": "scripts/golden/make_metrics.py", "versions": {name: importlib.metadata.version(name) for name in versions}, **more}

def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="ascii")
    print(path, len(rows) - 1)

def make_wordnet(root):
    """Writes the files of a WordNet: offsets in bytes, every word in the index of its kind."""
    root.mkdir(parents=True, exist_ok=True)
    marks = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
    licence = "  1 WordNet 0.1 Copyright of NextMem's test data, invented senses\n"
    (root / "lexnames").write_text("00\tall\t1\n")
    for kind, mark in marks.items():
        data, index = licence, {}
        for words in (words for of, words in SYNSETS if of == kind):
            offset = len(data)
            listed = " ".join(f"{word} 0" for word in words)
            frames = "01 + 01 00 " if kind == "verb" else ""
            data += f"{offset:08d} 00 {mark} {len(words):02x} {listed} 000 {frames}| an invented sense of {words[0]}  \n"
            for word in words:
                index.setdefault(re.sub(r"\(.*\)", "", word).lower(), []).append(offset)
        (root / f"data.{kind}").write_text(data)
        lines = (f"{word} {mark} {len(at)} 1 @ {len(at)} 0 {' '.join(f'{o:08d}' for o in at)}  \n" for word, at in sorted(index.items()))
        (root / f"index.{kind}").write_text(licence + "".join(lines))
        (root / f"{kind}.exc").write_text("".join(line + "\n" for line in EXCEPTIONS[kind]))

def rankings(rng):
    """Rankings of up to 12 items, whole or cut; relevant items that are ranked, ranked late, or not at all."""
    for i in range(80):
        items = rng.randrange(1, 13)
        ranked = rng.sample(range(items), items)[: rng.choice([items, items, 5, 3, 1])]
        relevant = rng.sample(range(items), rng.randrange(1, items + 1) if i % 3 else 1)
        run = {"q": {str(item): float(items - rank) for rank, item in enumerate(ranked)}}
        top = {"q": {str(item): score for item, score in run["q"].items() if score > items - 5}}
        truth = {"q": {str(item): int(item in relevant) for item in range(items)}}
        measures = {"success_5", "recall_5", "map_cut_5", "ndcg_cut_5"}
        of = pytrec_eval.RelevanceEvaluator(truth, measures).evaluate(run)["q"]
        first = pytrec_eval.RelevanceEvaluator(truth, {"recip_rank"}).evaluate(top)["q"]["recip_rank"]
        # scikit-learn wants a score for every item: those not ranked come last and do not fill the ranks before.
        padded = 2 * max(items, 5)
        gains, scores = np.zeros((1, padded)), np.zeros((1, padded))
        for item in range(items):
            gains[0, item] = item in relevant
            scores[0, item] = padded - ranked.index(item) if item in ranked else 0.0
        scores[0, items:] = np.linspace(0.9, 0.1, padded - items)
        yield {
            "ranked": ranked, "relevant": relevant,
            "hit@5": of["success_5"], "recall@5": of["recall_5"], "mrr@5": first,
            # trec_eval divides by all relevant items, also where more than five could never be found.
            "map@5": of["map_cut_5"] * len(relevant) / min(5, len(relevant)),
            "dcg@5": float(dcg_score(gains, scores, k=5)), "ndcg@5": float(ndcg_score(gains, scores, k=5)),
            "trec_ndcg": of["ndcg_cut_5"],
        }

def table():
    """Characters that are alphabetic, so alphanumeric to Rust, but neither letters nor numbers, so none of Python's \\w."""
    kind, ranges = regex.compile(r"[\p{Alphabetic}--[\p{L}\p{N}]]", regex.V1), []
    for code in (code for code in range(0x80, 0x110000) if not 0xD800 <= code < 0xE000 and kind.match(chr(code))):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    cells = [f"(0x{first:x}, 0x{last:x})" for first, last in ranges]
    lines = [", ".join(cells[i:i + 7]) for i in range(0, len(cells), 7)]
    text = f"""//! Vowel signs, other marks and circled letters; written by scripts/golden/make_metrics.py with regex {regex.__version__}.

/// First and last of every range of characters that `char::is_alphanumeric` takes and `\\w` of Python does not.
#[rustfmt::skip]
pub(super) const NOT_WORD: [(u32, u32); {len(cells)}] = [
""" + "".join(f"    {line},\n" for line in lines) + "];\n"
    path = EVAL / "src/normalize/not_word.rs"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="ascii")
    print(path, len(cells))

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--score", type=pathlib.Path)
    parser.add_argument("--wordnet")
    options = parser.parse_args()
    if options.score:
        wordnet = open_wordnet(pathlib.Path(options.wordnet).resolve()) if options.wordnet else NO_WORDNET
        for line in options.score.open(encoding="utf8"):
            pair = json.loads(line)
            print(json.dumps(columns(pair["prediction"], pair["reference"], wordnet)))
        return
    table()
    root = EVAL / "tests/fixtures/wordnet"
    make_wordnet(root)
    wordnet = open_wordnet(root)
    pairs = PAIRS + MORE + list(drawn(random.Random(1128)))
    rows = [{"kind": kind, "reference": r, "prediction": p, **columns(p, r)} for kind, r, p in pairs]
    rows += [{"kind": "synonyms", "reference": r, "prediction": p, **columns(p, r), "meteor_wordnet": meteor(p, r, wordnet)} for r, p in SYNONYMS]
    write(EVAL / "tests/fixtures/metrics.jsonl", [header(corpus_bleu=corpus_bleu(pairs), corpus_pairs=len(pairs))] + rows)
    write(EVAL / "tests/fixtures/rankings.jsonl", [header()] + list(rankings(random.Random(1128))))

if __name__ == "__main__":
    main()
