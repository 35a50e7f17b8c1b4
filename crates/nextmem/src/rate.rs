//! How much of a text a latent stands for: characters, tokens and bits per passage and per latent, beside the scores.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use nextmem_eval::{ReconstructionSample, Task};
use nextmem_model::Tokenizer;
use nextmem_training::token_accuracy;
use serde::{Deserialize, Serialize};

use crate::parts::Parts;
use crate::plan::{Plan, tasks};
use crate::run_dir::RunDir;
use crate::sample_set::{SampleSet, Samples};
use crate::source::Source;

/// The file in a run.
pub const FILE: &str = "rate.json";

/// The passages of one dataset of the reconstruction task, in means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// The dataset.
    pub dataset: String,
    /// Passages in the means.
    pub n: usize,
    /// Latents of a memory.
    pub latents: usize,
    /// Width of a latent.
    pub hidden_size: usize,
    /// Tokens of the backbone's tokenizer.
    pub tokens: f64,
    /// Characters.
    pub characters: f64,
    /// Share of passages with more tokens than the blocks of all latents, where stage 2 was trained by blocks: their ends are in no
    /// block.
    pub beyond: Option<f64>,
    /// Information of a generated passage, an upper bound; absent for texts that nobody has counted.
    pub bits: Option<f64>,
    /// Per row of the tables, the share of tokens that are right at their place in a free-running copy.
    #[serde(default)]
    pub token_accuracy: BTreeMap<String, f64>,
}

/// Measures the passages that a run reconstructs and writes [`FILE`].
pub fn write(plan: &Plan, dir: &RunDir, parts: &Parts) -> Result<()> {
    let Some((_, config)) = tasks(&plan.experiment).into_iter().find(|(task, _)| *task == Task::Reconstruction) else { return Ok(()) };
    let tokenizer = Tokenizer::open(&parts.backbone)?;
    let mut rates = Vec::new();
    for (dataset, config) in plan.source.datasets(config) {
        let passages = plan.source.reconstruction(&config)?;
        let n = passages.len();
        let mean = |total: usize| total as f64 / n.max(1) as f64;
        let lengths = passages.iter().map(|passage| Ok(tokenizer.encode(passage)?.len())).collect::<Result<Vec<usize>>>()?;
        let covered = plan.experiment.train.substitution.as_ref().map(|s| s.covered_tokens());
        let bits = match &plan.source {
            Source::Facts(facts) if config.path.is_none() => facts.bits(config.unseen, n),
            _ => None,
        };
        rates.push(Rate {
            dataset,
            n,
            latents: plan.experiment.method.nextmem.num_latents,
            hidden_size: plan.backbone.hidden_size,
            tokens: mean(lengths.iter().sum()),
            beyond: covered.map(|covered| mean(lengths.iter().filter(|length| **length > covered).count())),
            characters: mean(passages.iter().map(|passage| passage.chars().count()).sum()),
            bits,
            token_accuracy: BTreeMap::new(),
        });
    }
    for set in SampleSet::list(dir.root())? {
        if let (Task::Reconstruction, Some(rate)) = (set.task, rates.iter_mut().find(|rate| rate.dataset == set.dataset))
            && let Samples::Reconstruction(samples) = set.read()?
        {
            let tokens = |of: fn(&ReconstructionSample) -> &String| {
                samples.iter().map(|sample| Ok(tokenizer.encode(of(sample))?)).collect::<Result<Vec<_>>>()
            };
            let (truth, copies) = (tokens(|sample| &sample.reference)?, tokens(|sample| &sample.reconstruction)?);
            rate.token_accuracy.insert(set.method.clone(), token_accuracy(&truth, &copies));
        }
    }
    dir.write(FILE, format!("{}\n", serde_json::to_string_pretty(&rates)?).as_bytes())
}

/// What a run has measured; nothing where it has not.
pub fn read(root: &Path) -> Vec<Rate> {
    std::fs::read(root.join(FILE)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// The table of rates, empty without any.
pub fn markdown(rates: &[Rate]) -> String {
    let mut out = String::new();
    if rates.is_empty() {
        return out;
    }
    out.push_str(
        "\n## What a latent stands for\n\n| dataset | n | latents | tokens a passage | longer than all blocks | tokens a latent | characters a latent | bits a passage \
         | bits a latent | bits a latent in NF4 |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for rate in rates {
        let per = |total: f64| total / rate.latents as f64;
        let [bits, bits_per] = [rate.bits, rate.bits.map(per)].map(|bits| bits.map_or("-".into(), |bits| format!("{bits:.1}")));
        let stored = 4 * rate.hidden_size;
        let beyond = rate.beyond.map_or("-".into(), |share| format!("{:.1}%", 100.0 * share));
        let _ = writeln!(
            out,
            "| {} | {} | {} | {:.1} | {beyond} | {:.2} | {:.1} | {bits} | {bits_per} | {stored} |",
            rate.dataset,
            rate.n,
            rate.latents,
            rate.tokens,
            per(rate.tokens),
            per(rate.characters)
        );
    }
    out.push_str("\nBits are those of the generator's choices, an upper bound of what a passage says; NF4 stores 4 bits a dimension.\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_row_and_unknown_bits_are_a_dash() {
        let rate = Rate {
            dataset: "facts".into(),
            n: 2,
            latents: 10,
            hidden_size: 128,
            tokens: 80.0,
            characters: 200.0,
            beyond: Some(0.5),
            bits: Some(150.0),
            token_accuracy: BTreeMap::new(),
        };
        let text = markdown(&[rate.clone(), Rate { dataset: "text".into(), bits: None, beyond: None, ..rate }]);
        assert!(text.contains("| facts | 2 | 10 | 80.0 | 50.0% | 8.00 | 20.0 | 150.0 | 15.0 | 512 |"), "{text}");
        assert!(text.contains("| text | 2 | 10 | 80.0 | - | 8.00 | 20.0 | - | - | 512 |"), "{text}");
        assert!(markdown(&[]).is_empty());
    }
}
