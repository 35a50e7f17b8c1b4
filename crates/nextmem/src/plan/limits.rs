//! What the backbone's positions, the trained levels and the texts of the tasks say about the numbers of an experiment.

use anyhow::{Context, Result, bail};
use nextmem_eval::{Task, reference_text};
use nextmem_model::{DecoderConfig, Tokenizer, TooLong};
use nextmem_training::SubstitutionConfig;

use super::tasks;
use crate::experiment::{Experiment, StageName, TaskConfig};
use crate::hub::located;
use crate::source::Source;

/// Tokens around a reference in the prompt of task 2: the instruction, the chat template and a short question.
const PROMPT_TOKENS: usize = 64;
/// `max_input_tokens` where nothing is typed (official code); a backbone with fewer positions than that is not refused for it.
const INPUT_TOKENS: usize = 1024;

/// Refuses lengths for which the backbone has no positions: they would be found out after training, by numbers that mean nothing or
/// by a lack of memory.
pub(super) fn check(e: &Experiment, backbone: &DecoderConfig) -> Result<()> {
    let (method, positions) = (&e.method.nextmem, backbone.max_position_embeddings);
    let (latents, input, new) = (method.num_latents, method.max_input_tokens, method.max_new_tokens);
    let has = format!("the backbone has {positions} positions (max_position_embeddings)");
    if latents + 1 >= positions {
        bail!("method.nextmem.num_latents: got {latents}, but {has}, which must hold them, [SoD] and a text");
    }
    if input != INPUT_TOKENS && input + latents + 1 > positions {
        bail!(
            "method.nextmem.max_input_tokens: got {input}, but {has}, which must hold the text, [SoD] and {latents} latents; set at most {}",
            positions - latents - 1
        );
    }
    let apart = e.train.substitution.as_ref().map_or(0, |s| s.layout.text_positions);
    if apart > 0 && input > apart {
        bail!(
            "method.nextmem.max_input_tokens: got {input}, but train.substitution.layout.text_positions leaves {apart} positions to a text \
             before those of its copy; set at most {apart}"
        );
    }
    if new > positions {
        bail!("method.nextmem.max_new_tokens: got {new}, but {has}; set less");
    }
    let answers = tasks(e).iter().any(|(task, _)| *task == Task::ContextualQa);
    if answers && 2 * new + PROMPT_TOKENS > positions {
        bail!(
            "method.nextmem.max_new_tokens: got {new}, but {has}: DeComp puts a reconstruction of up to {new} tokens into a prompt of about \
             {PROMPT_TOKENS} and answers with up to {new} more; set at most {}, or leave [eval.contextual_qa] out",
            positions.saturating_sub(PROMPT_TOKENS) / 2
        );
    }
    Ok(())
}

/// Reads what the tasks ask, so that a malformed file, or a text that is longer than what is encoded, stops a run before it trains. A
/// backbone that is still to be made has no tokenizer to count with.
pub(super) fn check_texts(e: &Experiment, source: &Source) -> Result<()> {
    let (method, model) = (&e.method.nextmem, e.backbone.model.as_deref().map(located).filter(|dir| dir.is_dir()));
    let counted = model.filter(|_| method.too_long == TooLong::Refuse);
    let tokenizer = counted.map(|dir| Tokenizer::open(&dir)).transpose()?;
    for (task, config) in tasks(e) {
        for (dataset, config) in source.datasets(config) {
            let texts = texts(source, task, &config).context("[eval]")?;
            let Some(tokenizer) = &tokenizer else { continue };
            for (index, text) in texts.iter().enumerate() {
                let (got, most) = (tokenizer.encode(text)?.len(), method.max_input_tokens);
                if got > most {
                    bail!(
                        "eval.{}: text {index} of {dataset} has {got} tokens, expected at most method.nextmem.max_input_tokens = {most}; raise \
                         it, leave longer texts out, or set too_long = \"cut\" to keep their beginnings",
                        task.name()
                    );
                }
            }
        }
    }
    Ok(())
}

/// The texts that a task turns into memories.
fn texts(source: &Source, task: Task, config: &TaskConfig) -> Result<Vec<String>> {
    Ok(match task {
        Task::Reconstruction => source.reconstruction(config)?,
        Task::ContextualQa => source.qa(config)?.iter().map(|item| reference_text(&item.references)).collect(),
        Task::Retrieval => source.retrieval(config)?.into_iter().flat_map(|item| item.references).collect(),
    })
}

/// What is accepted and may not be meant.
pub(super) fn notes(e: &Experiment, stages: &[StageName]) -> Vec<String> {
    let latents = e.method.nextmem.num_latents;
    let stage2 = e.train.substitution.as_ref().filter(|_| stages.contains(&StageName::Substitution));
    // One model for any number of latents is trained for each of them.
    let trained = |s: &&SubstitutionConfig| s.any_k_from.unwrap_or(s.levels)..=s.levels;
    let differs = stage2.filter(|s| !trained(s).contains(&latents)).map(|s| {
        let levels = s.levels;
        format!(
            "method.nextmem.num_latents is {latents}, but train.substitution.levels is {levels}: stage 2 trains an encoder of {levels} latents, \
             of which {latents} are {}; for an ablation of the number of latents change both, and block_tokens",
            if latents < levels { "evaluated" } else { "evaluated, the last ones untrained" }
        )
    });
    let positions = [
        e.train.reconstruction.as_ref().filter(|_| stages.contains(&StageName::Reconstruction)).map(|s| s.text_positions),
        e.train.substitution.as_ref().map(|s| s.layout.text_positions),
    ];
    let moved = match positions {
        [Some(stage1), Some(stage2)] if stage1 != stage2 => Some(format!(
            "train.reconstruction.text_positions is {stage1}, train.substitution.layout.text_positions is {stage2}: the decoder learns to copy \
             at other positions than it is used at"
        )),
        _ => None,
    };
    differs.into_iter().chain(moved).collect()
}
