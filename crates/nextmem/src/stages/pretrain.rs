//! The nano backbone itself: its tokenizer, and its pretraining as a language model.

use std::sync::Arc;

use anyhow::{Result, bail};
use burn::data::dataset::Dataset;
use nextmem_data::Split;
use nextmem_model::{Decoder, Tokenizer, save_decoder};
use nextmem_training::{Example, PretrainRows, REPEAT_REQUEST, Stream, TokenModel, Trainable, fit, mix};

use super::{Trainer, WEIGHTS};
use crate::experiment::StageName;
use crate::source::Source;

/// Standard deviation of a nano backbone's first weights (ours).
const NANO_INIT_STD: f64 = 0.05;

impl Trainer<'_> {
    pub(super) fn pretrain(&self) -> Result<()> {
        let e = self.experiment();
        let (Some(config), Some(nano), Source::Facts(facts)) = (&e.train.pretrain, &e.backbone.nano, &self.plan.source) else {
            bail!("pretraining needs [train.pretrain], [backbone.nano] and [data.facts]")
        };
        let weights = self.dir.join(WEIGHTS);
        let text = e.data.text.clone().map(Source::Text);
        if !weights.join("tokenizer.json").exists() {
            let corpus = tokenizer_corpus(&facts.examples(), &text, nano.tokenizer_passages)?;
            Tokenizer::train_nano(corpus, nano.vocab_size)?.save(&weights)?;
        }
        let tokenizer = Arc::new(Tokenizer::open(&weights)?);
        let stream_seed = mix(e.train_seed(), 200);
        let rows = PretrainRows {
            facts: Stream::new(facts.examples(), stream_seed)?,
            text: match &text {
                Some(source) => Some(Stream::new(source.training()?, stream_seed)?),
                None => None,
            },
            tokenizer: tokenizer.clone(),
            config: config.clone(),
            seed: stream_seed,
        };
        let decoder = Decoder::random(self.plan.backbone.clone(), NANO_INIT_STD, self.seed(StageName::Pretrain), self.device);
        let trainable = Trainable { full: Some(decoder), adapter: None, special: None };
        let model = TokenModel::new(trainable, None, tokenizer.sod());
        let trained = fit(model, self.stage("pretrain", config.steps, &config.optim, Arc::new(rows), None))?;
        if let Some(decoder) = trained.trainable.full {
            let decoder = if nano.balanced { decoder.balanced() } else { decoder };
            save_decoder(&decoder, &weights, tokenizer.im_end(), tokenizer.end_of_text())?;
        }
        Ok(())
    }
}

/// Passages, questions and the prompts around them, so that the tokenizer has seen all that the model will read.
fn tokenizer_corpus(facts: &Arc<dyn Dataset<Example>>, text: &Option<Source>, count: usize) -> Result<Vec<String>> {
    let mut corpus = Vec::new();
    for index in 0..count.min(facts.len()) {
        let example = facts.get(index)?;
        corpus.extend(example.questions.iter().map(|(question, answer)| format!("{question}\n{answer}")));
        corpus.push(nextmem_model::text_prompt("", ""));
        corpus.push(REPEAT_REQUEST.to_string());
        corpus.push(example.text);
    }
    if let Some(source) = text {
        corpus.extend(source.held_out(Split::Train, count)?);
    }
    Ok(corpus)
}
