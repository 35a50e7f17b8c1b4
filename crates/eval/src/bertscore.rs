//! BERTScore: greedy cosine matching of contextual token vectors, with the numbers of the `bert-score` package.
//!
//! Every token of a text is matched with the token of the other text whose hidden state is nearest by cosine. Precision
//! is the weighted mean over the prediction's tokens, recall over the reference's, F1 their harmonic mean. `[CLS]` and
//! `[SEP]` can be matched but weigh nothing; other tokens weigh 1, or with `idf` ln((N + 1) / (df + 1)) over the N
//! references. Rescaling maps a baseline b to 0: (x - b) / (1 - b). It needs an encoder, so it is not one of
//! [`TEXT_METRICS`](crate::metric::TEXT_METRICS).

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use nextmem_model::{Device, EncodedText, ModelError, TextEncoder};
use serde::{Deserialize, Serialize};

use crate::EvalError;
use crate::task::Progress;

/// The metric's name; its value is the F1.
pub const BERTSCORE: &str = "bertscore";

/// What to say in its place where no encoder is given.
pub const BERTSCORE_UNAVAILABLE: &str = "bertscore: unavailable - no encoder was given, expected a directory with config.json, \
     model.safetensors and tokenizer.json of a BERT or RoBERTa (the package's default for English is roberta-large)";

/// Pairs that the reference matches in one padded batch, `batch_size` of `bert_score.score`.
const MATCHED_TOGETHER: usize = 64;

/// The layers tuned on WMT16, by the last part of the model's name (`model2layers` of bert-score 0.3.13; encoders that
/// can be opened here).
const LAYERS: [(&str, usize); 52] = [
    ("bert-base-uncased", 9),
    ("bert-large-uncased", 18),
    ("bert-base-cased-finetuned-mrpc", 9),
    ("bert-base-multilingual-cased", 9),
    ("bert-base-chinese", 8),
    ("roberta-base", 10),
    ("roberta-large", 17),
    ("roberta-large-mnli", 19),
    ("roberta-base-openai-detector", 7),
    ("roberta-large-openai-detector", 15),
    ("xlm-roberta-base", 9),
    ("xlm-roberta-large", 17),
    ("scibert_scivocab_uncased", 8),
    ("scibert_scivocab_cased", 9),
    ("scibert_basevocab_uncased", 9),
    ("distilroberta-base", 5),
    ("spanbert-base-cased", 8),
    ("spanbert-large-cased", 17),
    ("finbert", 10),
    ("unsup-simcse-bert-base-uncased", 10),
    ("unsup-simcse-bert-large-uncased", 18),
    ("unsup-simcse-roberta-base", 8),
    ("unsup-simcse-roberta-large", 13),
    ("sup-simcse-bert-base-uncased", 10),
    ("sup-simcse-bert-large-uncased", 18),
    ("sup-simcse-roberta-base", 10),
    ("sup-simcse-roberta-large", 16),
    ("bert-base-turkish-cased", 10),
    ("bert_uncased_L-2_H-128_A-2", 1),
    ("bert_uncased_L-2_H-256_A-4", 1),
    ("bert_uncased_L-2_H-512_A-8", 1),
    ("bert_uncased_L-2_H-768_A-12", 2),
    ("bert_uncased_L-4_H-128_A-2", 3),
    ("bert_uncased_L-4_H-256_A-4", 3),
    ("bert_uncased_L-4_H-512_A-8", 3),
    ("bert_uncased_L-4_H-768_A-12", 3),
    ("bert_uncased_L-6_H-128_A-2", 5),
    ("bert_uncased_L-6_H-256_A-4", 5),
    ("bert_uncased_L-6_H-512_A-8", 5),
    ("bert_uncased_L-6_H-768_A-12", 5),
    ("bert_uncased_L-8_H-128_A-2", 7),
    ("bert_uncased_L-8_H-256_A-4", 7),
    ("bert_uncased_L-8_H-512_A-8", 6),
    ("bert_uncased_L-8_H-768_A-12", 7),
    ("bert_uncased_L-10_H-128_A-2", 8),
    ("bert_uncased_L-10_H-256_A-4", 8),
    ("bert_uncased_L-10_H-512_A-8", 9),
    ("bert_uncased_L-10_H-768_A-12", 8),
    ("bert_uncased_L-12_H-128_A-2", 10),
    ("bert_uncased_L-12_H-256_A-4", 11),
    ("bert_uncased_L-12_H-512_A-8", 10),
    ("bert_uncased_L-12_H-768_A-12", 9),
];

/// Which encoder, and how its vectors are compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BertScoreConfig {
    /// A Hugging Face directory of a BERT or RoBERTa encoder.
    pub encoder: PathBuf,
    /// The layer compared, 0 being the embeddings; by default the one that bert-score uses for a model of the
    /// directory's name, and the last for any other.
    #[serde(default)]
    pub layer: Option<usize>,
    /// Whether tokens that are rare among the references weigh more.
    #[serde(default)]
    pub idf: bool,
    /// A `rescale_baseline/LANGUAGE/MODEL.tsv` of bert-score; without it scores are not rescaled, as in the paper.
    #[serde(default)]
    pub baseline: Option<PathBuf>,
    /// Texts in one forward pass; changes no score.
    #[serde(default = "default_batch_size")]
    pub batch_size: NonZeroUsize,
}

fn default_batch_size() -> NonZeroUsize {
    const { NonZeroUsize::new(16).expect("not zero") }
}

impl BertScoreConfig {
    /// A directory with the defaults for everything else.
    pub fn new(encoder: impl Into<PathBuf>) -> Self {
        Self { encoder: encoder.into(), layer: None, idf: false, baseline: None, batch_size: default_batch_size() }
    }
}

/// The score of one pair, at most 1, and below 0 where it is rescaled and bad.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BertScoreValue {
    /// How well the prediction's tokens are found in the reference; NaN when all of them weigh nothing.
    pub precision: f64,
    /// How well the reference's tokens are found in the prediction; NaN when all of them weigh nothing.
    pub recall: f64,
    /// 2pr / (p + r); 0 (before rescaling) where it is undefined and for an empty text.
    pub f1: f64,
}

/// The scores of all pairs.
#[derive(Clone, Debug, PartialEq)]
pub struct BertScores {
    /// One per pair, in order.
    pub values: Vec<BertScoreValue>,
    /// Distinct texts whose end did not fit into the encoder; it was ignored.
    pub truncated: usize,
}

/// An encoder ready to score.
#[derive(Debug)]
pub struct BertScore {
    encoder: TextEncoder,
    layer: usize,
    idf: bool,
    baseline: Option<[f64; 3]>,
    batch_size: usize,
}

impl BertScore {
    /// Opens the encoder and the baseline.
    ///
    /// # Errors
    /// As [`TextEncoder::open`]; a layer that the encoder does not have, or a baseline without it.
    pub fn open(config: &BertScoreConfig, device: &Device) -> Result<Self, EvalError> {
        let encoder = TextEncoder::open(&config.encoder, device)?;
        let (name, last) = (encoder.name(), encoder.num_layers());
        let layer = config.layer.or_else(|| tuned_layer(&name)).unwrap_or(last);
        if layer > last {
            let text =
                format!("bertscore: got layer {layer}, but {} has {last} layers; set `layer` to 0..={last}", config.encoder.display());
            return Err(ModelError::Unsupported(text).into());
        }
        let baseline = config.baseline.as_deref().map(|path| read_baseline(path, layer)).transpose()?;
        Ok(Self { encoder, layer, idf: config.idf, baseline, batch_size: config.batch_size.get() })
    }

    /// What stands beside its values in result files: model, layer, weights, rescaling.
    pub fn version(&self) -> String {
        let idf = if self.idf { "idf of the references" } else { "no idf" };
        let rescaled = if self.baseline.is_some() { "rescaled" } else { "not rescaled" };
        format!("1 (F1 as bert-score 0.3.13; {}, layer {}, {idf}, {rescaled})", self.encoder.name(), self.layer)
    }

    /// The layer compared.
    pub fn layer(&self) -> usize {
        self.layer
    }

    /// Scores pairs of prediction and reference; `progress` is told after every batch how many are done.
    ///
    /// With `idf` the weights come from the references of this call: score a whole file at once. As in the reference
    /// implementation, surrounding white space is ignored, a text that holds a special token's name holds the token,
    /// and an empty text scores 0.
    ///
    /// # Errors
    /// A tokenizer that fails.
    ///
    /// # Reference
    /// bert-score 0.3.13, `score.py` and `utils.py` (`sent_encode`, `get_idf_dict`, `greedy_cos_idf`), with the slow
    /// tokenizers it uses by default: RoBERTa's puts a space before the first word.
    pub fn score(&self, pairs: &[(&str, &str)], progress: Progress<'_>) -> Result<BertScores, EvalError> {
        let mut texts: HashMap<&str, EncodedText> = HashMap::new();
        for text in pairs.iter().flat_map(|(prediction, reference)| [*prediction, *reference]) {
            if !texts.contains_key(text) {
                texts.insert(text, self.encode(text)?);
            }
        }
        let weights = Weights::new(self.encoder.special_ids(), self.idf.then(|| pairs.iter().map(|(_, r)| texts[r].ids.as_slice())));
        let mut values = Vec::with_capacity(pairs.len());
        for batch in pairs.chunks(MATCHED_TOGETHER) {
            let distinct: Vec<&str> = batch.iter().flat_map(|(p, r)| [*p, *r]).collect::<HashSet<_>>().into_iter().collect();
            let rows: Vec<&[u32]> = distinct.iter().map(|text| texts[text].ids.as_slice()).collect();
            let vectors = self.encoder.token_vectors(&rows, self.layer, self.batch_size);
            let hidden = self.encoder.hidden_size();
            let units: HashMap<&str, Vec<f32>> = distinct.into_iter().zip(vectors.into_iter().map(|v| units(v, hidden))).collect();
            let length = |text: &str| texts[text].ids.len();
            let (longest_p, longest_r) = (
                batch.iter().map(|(p, _)| length(p)).max().unwrap_or_default(),
                batch.iter().map(|(_, r)| length(r)).max().unwrap_or_default(),
            );
            for (p, r) in batch {
                // In the reference padding has cosine 0 with everything, so a token beside padding has at least that.
                let floor = |text: &str, longest: usize| if length(text) < longest { 0.0 } else { f32::NEG_INFINITY };
                let (best_p, best_r) = matches(&units[p], &units[r], hidden, floor(r, longest_r), floor(p, longest_p));
                let empty = length(p) == 2 || length(r) == 2;
                values.push(self.value(weights.mean(&texts[p].ids, &best_p), weights.mean(&texts[r].ids, &best_r), empty));
            }
            progress(values.len());
        }
        Ok(BertScores { values, truncated: texts.values().filter(|text| text.truncated).count() })
    }

    fn encode(&self, text: &str) -> Result<EncodedText, EvalError> {
        // Python's `str.strip` also takes the separators of files, groups, records and units.
        let text = text.trim_matches(|c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c));
        let spaced = self.encoder.model_type() == "roberta" && !text.is_empty();
        Ok(self.encoder.tokenize(&if spaced { format!(" {text}") } else { text.to_string() })?)
    }

    fn value(&self, precision: f64, recall: f64, empty: bool) -> BertScoreValue {
        let f1 = 2.0 * precision * recall / (precision + recall);
        let f1 = if f1.is_nan() { 0.0 } else { f1 };
        let (precision, recall) = if empty { (0.0, 0.0) } else { (precision, recall) };
        let [p, r, f] = self.baseline.unwrap_or([0.0; 3]);
        let rescale = |value: f64, baseline: f64| (value - baseline) / (1.0 - baseline);
        BertScoreValue { precision: rescale(precision, p), recall: rescale(recall, r), f1: rescale(f1, f) }
    }
}

/// The weight of every token.
struct Weights {
    known: HashMap<u32, f64>,
    default: f64,
}

impl Weights {
    fn new<'a>(special: [u32; 2], references: Option<impl Iterator<Item = &'a [u32]>>) -> Self {
        let Some(references) = references else {
            return Self { known: special.into_iter().map(|id| (id, 0.0)).collect(), default: 1.0 };
        };
        let (mut count, mut frequency) = (0.0, HashMap::<u32, f64>::new());
        for ids in references {
            count += 1.0;
            for id in ids.iter().collect::<HashSet<_>>() {
                *frequency.entry(*id).or_default() += 1.0;
            }
        }
        // Both special tokens are in every reference: their weight is ln 1.
        let weight = |frequency: f64| ((count + 1.0) / (frequency + 1.0)).ln();
        Self { known: frequency.into_iter().map(|(id, frequency)| (id, weight(frequency))).collect(), default: weight(0.0) }
    }

    /// The weighted mean of the values of tokens; NaN when all weights are 0.
    fn mean(&self, ids: &[u32], values: &[f32]) -> f64 {
        let (mut sum, mut total) = (0.0, 0.0);
        for (id, value) in ids.iter().zip(values) {
            let weight = self.known.get(id).copied().unwrap_or(self.default);
            sum += weight * f64::from(*value);
            total += weight;
        }
        sum / total
    }
}

/// Every row of width `hidden` over its length.
fn units(mut vectors: Vec<f32>, hidden: usize) -> Vec<f32> {
    for row in vectors.chunks_mut(hidden) {
        let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        row.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
    }
    vectors
}

/// The largest cosine of each row of `p` with a row of `r`, and of each row of `r`; none is below its floor.
fn matches(p: &[f32], r: &[f32], hidden: usize, floor_p: f32, floor_r: f32) -> (Vec<f32>, Vec<f32>) {
    let mut best_p = vec![floor_p; p.len() / hidden];
    let mut best_r = vec![floor_r; r.len() / hidden];
    for (p, best_p) in p.chunks(hidden).zip(&mut best_p) {
        for (r, best_r) in r.chunks(hidden).zip(&mut best_r) {
            let cosine = dot(p, r);
            *best_p = best_p.max(cosine);
            *best_r = best_r.max(cosine);
        }
    }
    (best_p, best_r)
}

/// In eight sums side by side, which the compiler turns into vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0f32; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// The layer that bert-score uses for a model of this name.
fn tuned_layer(name: &str) -> Option<usize> {
    LAYERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, layer)| *layer)
}

/// The row of a layer of a `LAYER,P,R,F` table.
fn read_baseline(path: &Path, layer: usize) -> Result<[f64; 3], EvalError> {
    let text = std::fs::read_to_string(path).map_err(|reason| EvalError::Io { path: path.to_owned(), reason })?;
    let bad = |reason: String| EvalError::Model(ModelError::Config { path: path.to_owned(), reason });
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    if header.trim() != "LAYER,P,R,F" {
        return Err(bad(format!("got {header:?} as the first line, expected \"LAYER,P,R,F\"; use a rescale_baseline table of bert-score")));
    }
    let line = lines.nth(layer).ok_or_else(|| bad(format!("no row for layer {layer}, expected one; use the table of this encoder")))?;
    let numbers = line.trim().split(',').map(|cell| cell.trim().parse::<f64>()).collect::<Result<Vec<_>, _>>();
    match numbers.as_deref() {
        Ok([row, p, r, f]) if *row == layer as f64 && [p, r, f].iter().all(|b| b.is_finite() && **b < 1.0) => Ok([*p, *r, *f]),
        _ => Err(bad(format!("got {line:?} as the row of layer {layer}, expected {layer} and three numbers below 1"))),
    }
}
