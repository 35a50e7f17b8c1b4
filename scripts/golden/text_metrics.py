"""Golden values for the text metrics: invented text pairs scored by the reference Python packages.

    python -m venv venv && venv/bin/pip install rouge-score==0.1.2 sacrebleu==2.6.0 nltk==3.10.4
    venv/bin/python scripts/golden/text_metrics.py

Regenerates crates/eval/tests/golden/text_metrics.jsonl (a header line, then one pair a line) and porter_stems.tsv.
All texts are our own.
"""
import collections, importlib.metadata, json, pathlib, re, string
import sacrebleu
from nltk.stem.porter import PorterStemmer
from rouge_score import rouge_scorer
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/eval/tests/golden"

HARBOUR = ("The harbour at Velmora was rebuilt in 1874, after two storms had broken its northern wall. "
           "Engineers brought 12,500 tonnes of granite by barge, and the work took nearly six years.")
LETTER = ("I've been meaning to write, but the children weren't sleeping and we'd run out of ink. "
          "Don't worry: it's better now, and they're planting beans behind the shed.")
BIRDS = ("Field notes: grey-backed terns nest in late May, fledge by mid-July, and leave before the first frost; "
         "a few pairs - perhaps ten - stay until September.")
LAB = ("Dr. Okonjo measured 3.75 volts at 20.5 degrees, i.e. 0.4% above the predicted value; "
       "the second run (12-03-1998) gave 3.7 volts.")

def words(text, keep):
    return " ".join(w for i, w in enumerate(text.split()) if keep(i))

def swapped(text, step):
    out = text.split()
    for i in range(0, len(out) - 1, step):
        out[i], out[i + 1] = out[i + 1], out[i]
    return " ".join(out)

# (kind, reference, prediction)
PAIRS = [
    ("same", HARBOUR, HARBOUR),
    ("same", "Otters hold hands while they sleep.", "Otters hold hands while they sleep."),
    ("truncated", HARBOUR, HARBOUR[:90]),
    ("truncated", BIRDS, words(BIRDS, lambda i: i < 9)),
    ("truncated", LETTER, words(LETTER, lambda i: i < 3)),
    ("longer", LETTER[:60], LETTER),
    ("dropped", HARBOUR, words(HARBOUR, lambda i: i % 4 != 2)),
    ("dropped", LAB, words(LAB, lambda i: i % 3 != 0)),
    ("swapped", LETTER, swapped(LETTER, 5)),
    ("swapped", BIRDS, swapped(BIRDS, 2)),
    ("reversed", HARBOUR, " ".join(reversed(HARBOUR.split()))),
    ("replaced", HARBOUR, HARBOUR.replace("Velmora", "Selmora").replace("1874", "1847").replace("granite", "limestone")),
    ("replaced", LAB, LAB.replace("3.75", "3.57").replace("volts", "amperes")),
    ("repeated", "the bell rang twice", "the bell rang rang rang the bell the bell"),
    ("repeated", "so so so very very late", "so very late"),
    ("repeated", BIRDS, BIRDS + " " + BIRDS),
    ("case", LETTER, LETTER.lower()),
    ("case", "NATO and Unesco met In Oslo", "nato and UNESCO met in oslo"),
    ("punctuation", LAB, re.sub(r"[^\w\s]", "", LAB)),
    ("punctuation", "Wait... what?! (No, really.)", "Wait, what? No, really!"),
    ("punctuation", "path/to/file_name.txt | $HOME & ~user^2 = `x` {y} [z] <t> @me #1 *2+3\\4", "path to file_name txt"),
    ("punctuation", "?!;:", "?!;:"),
    ("entities", "Fish &amp; chips &lt;hot&gt; said &quot;yes&quot; &amp;lt;", "Fish & chips <hot> said \"yes\" <"),
    ("lines", "a line bro-\nken in two\nand a<skipped> third -\n", "a line broken in two and a third"),
    ("stems", "The gardeners were happily watering the dying flowers", "the gardener was happy to water dead flower"),
    ("stems", "national organizations formalized generalities", "nation organization formal generality"),
    ("stems", "skies innings succeed geology flies 1980s v2s", "sky inning succeeded geological fly 1980 v2"),
    ("numbers", "It cost $3,000.50 on 4.5.2019, about 5% of 60,000", "It cost 3000.50 dollars on 4.5.2019 about 5 % of 60,000."),
    ("numbers", "Call 555-0134, 9-to-5, -7, 8-, .5 and 6.", "Call 555 - 0134, 9 to 5, -7, 8 -, 0.5 and 6"),
    ("hyphens", "a well-known state-of-the-art co-operative", "a well known state of the art cooperative"),
    ("contractions", "Don't say they're who's or o'clock's rock 'n' roll", "Do not say they are whos or oclocks rock n roll"),
    ("articles", "the a an", "A the"),
    ("articles", "a", "a"),
    ("articles", "A theory: the other band, an anthem, A.", "theory other band anthem"),
    ("articles", "plan a/b or \u201ca\u201d\u2013the\u2014an", "plan ab or b"),
    ("empty", "", ""),
    ("empty", "", "something"),
    ("empty", "something", ""),
    ("empty", " \t\n", "   "),
    ("short", "yes", "Yes."),
    ("short", "two words", "words two"),
    ("short", "x y z", "x y q"),
    ("none", "completely different things", "nothing shared here"),
    ("unicode", "Zo\u00eb's na\u00efve fa\u00e7ade in \u00c5rhus", "Zoe's naive facade in Arhus"),
    ("unicode", "\u00c9T\u00c9 STRASSE stra\u00dfe \u039f\u0394\u039f\u03a3", "\u00e9t\u00e9 strasse stra\u00dfe \u03bf\u03b4\u03bf\u03c2"),
    ("unicode", "caf\u00e9 cafe\u0301 \u2018quoted\u2019 \u2026 \u20ac5", "cafe\u0301 caf\u00e9 'quoted' ... \u20ac 5"),
    ("unicode", "na\u00a0no\u3000break\u2009thin\u200bzero \U0001f30a\U0001f30a wave", "na no break thin zero \U0001f30a wave"),
    ("cjk", "\u6e2f\u53e3\u5728\u51ac\u5929\u5173\u95ed\u3002 \u8239\u6765\u4e86", "\u8239\u6765\u4e86 \u6e2f\u53e3\u5728\u51ac\u5929\u5173\u95ed\u3002"),
    ("cjk", "\u6771\u4eac Tower 333 m \u3067\u3059", "\u6771\u4eac tower 333m \u3067\u3059"),
]

# Beside the words of the texts: every rule of the stemmer, where it applies and where its condition fails.
STEM_WORDS = """
caresses ponies ties dies flies cries caress cats gas bus its ss sses ies feed agreed freed need seed plastered bled red
motoring sing king ring bring conflated troubled sized hopping tanned falling hissing fizzed failing filing owed aging
died spied tried untied ied happy sky skies enjoy enjoyment employ toy cry shy by yy yyyy say syzygy relational rational
conditional valency hesitancy digitizer conformably radically differently vilely analogously vietnamization predication
operator feudalism decisiveness hopefulness callousness formality sensitivity sensibility beautifully carefully geology
theology archaeology analogy logic apology parallelly totally really normally ally bally eventually triplicate formative
formalize electricity electrical hopeful goodness useful wilderness natives revival allowance inference airliner
gyroscopic adjustable defensible irritant replacement adjustment dependent adoption homologous communism activate
angularity effective bowdlerize cement element moment comment agent ion lion million opinion decision version onion
probate rate cease controlling roll rolled controll installed spell dying lying tying news inning innings outing outings
canning cannings howe proceed exceed succeed succeeded proceeds 1980s 2nd 3d v2s x11 4th a1b2 university universe
universal generalizations oscillators national nationalism organization organizer running runner ran walked walking
computing computer computation compute jumped jumping easily fairly singly possibly terribly nobly early only alley valley
making baked hoping hoped planning planed fishing fished matting mating rated rating bees trees committee committees seeing
being dyed eyed keyed played staying buying abilities ability able unable stable tables fixable music physical physically
classical classic critical criticism activist active activity inactive relativity relate related relating creating creation
creative create rotational sensational station nation notion motion emotion emotional traditional addition edition edited
"""

def squad_normal(text):
    """The order and the patterns of SQuAD's evaluate-v1.1.py."""
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())

def squad_f1(prediction, reference):
    prediction, reference = squad_normal(prediction).split(), squad_normal(reference).split()
    same = sum((collections.Counter(prediction) & collections.Counter(reference)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(prediction), same / len(reference)
    return 2 * precision * recall / (precision + recall)

def row(kind, reference, prediction):
    rouge = rouge_scorer.RougeScorer(["rouge1", "rougeL"], use_stemmer=True).score(reference, prediction)
    return {
        "kind": kind, "reference": reference, "prediction": prediction,
        "f1": squad_f1(prediction, reference),
        "exact_match": float(squad_normal(prediction) == squad_normal(reference)),
        "rouge_1": float(rouge["rouge1"].fmeasure), "rouge_l": float(rouge["rougeL"].fmeasure),
        "bleu": sacrebleu.sentence_bleu(prediction, [reference], use_effective_order=True).score / 100,
        "tokens_13a": Tokenizer13a()(reference.rstrip()),
    }

def main():
    versions = {name: importlib.metadata.version(name) for name in ("rouge-score", "sacrebleu", "nltk")}
    OUT.mkdir(parents=True, exist_ok=True)
    rows = [{"generator": "scripts/golden/text_metrics.py", "versions": versions}] + [row(*pair) for pair in PAIRS]
    pairs = OUT / "text_metrics.jsonl"
    pairs.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="ascii")
    found = set(STEM_WORDS.split())
    for text in (HARBOUR, LETTER, BIRDS, LAB):
        found |= set(re.findall("[a-z0-9]+", text.lower()))
    stemmer = PorterStemmer()
    stems = OUT / "porter_stems.tsv"
    lines = [f"word\tnltk {versions['nltk']} NLTK_EXTENSIONS"] + [f"{w}\t{stemmer.stem(w)}" for w in sorted(found)]
    stems.write_text("\n".join(lines) + "\n", encoding="ascii")
    for path, count in ((pairs, len(PAIRS)), (stems, len(found))):
        print(path, count)

if __name__ == "__main__":
    main()
