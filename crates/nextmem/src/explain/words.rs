//! What of a stage is not the paper's, in words: one line for every key that is on.

use nextmem_training::{LatentNoise, Optimizer, Progress, Rate, ReaderConfig, ReconstructionConfig, SubstitutionConfig};

/// Beside its default, for each key of stage 1.
pub fn stage1(s: &ReconstructionConfig) -> Vec<String> {
    let mut lines = Vec::new();
    muon(s.optim.optimizer, &mut lines);
    if s.random_tokens > 0.0 {
        lines.push(format!("{:.0}% of rows copy uniformly random tokens, which nobody can guess", 100.0 * s.random_tokens));
    }
    if s.window_tokens > 0 {
        let growth = if s.window_growth > 0 { format!(", growing to it over {} steps", s.window_growth) } else { String::new() };
        lines.push(format!("rows are windows of a random length up to {} tokens{growth}", s.window_tokens));
    }
    if s.text_positions > 0 {
        lines.push(format!("texts begin at position 0, [SoD] and the copy at {}: a copy looks at a constant distance", s.text_positions));
    }
    if s.questions > 0.0 {
        lines.push(format!("{:.0}% of rows answer questions, from text and in the Comp format", 100.0 * s.questions));
    }
    if s.balanced {
        lines.push("the trained decoder is scaled so that its hidden states are as large as its embeddings".into());
    }
    lines
}

/// Beside its default, for each key of stage 2.
pub fn stage2(s: &SubstitutionConfig) -> Vec<String> {
    let mut lines = Vec::new();
    muon(s.optim.optimizer, &mut lines);
    if !s.detach {
        lines.push("latents are fed back with their gradient".into());
    }
    if s.progress == Progress::Length {
        lines.push(format!("levels below the last encode windows of as many blocks of {} tokens as they have latents", s.block_tokens));
    }
    if let Some(ladder) = &s.latents_by_level {
        lines.push(format!("levels have {ladder:?} latents instead of one more each"));
    }
    if let Some(gate) = s.gate {
        lines.push(format!("a level ends as soon as the mean loss of {} steps is at most {}", gate.window, gate.loss));
    }
    if s.replay > 0.0 {
        lines.push(format!("{:.0}% of steps return to a lower level", 100.0 * s.replay));
    }
    if s.rate == Rate::LastLevel {
        lines.push("the learning rate stays at its peak until the last level, where it falls".into());
    }
    if let Some(from) = s.any_k_from {
        lines.push(format!("every step draws its number of latents, from {from} on: one model for any number"));
    }
    match s.noise {
        LatentNoise::None => {}
        LatentNoise::Uniform(share) => lines.push(format!("latents get uniform noise up to {share} of their size")),
        LatentNoise::Nf4(scales) => lines.push(format!("latents go through NF4 (scales: {scales:?}) on their way to the decoder")),
    }
    if let Some(auxiliary) = s.auxiliary {
        lines.push(format!("a throw-away decoder rebuilds a block from its latent alone, weight {}", auxiliary.weight));
    }
    if s.replaced_tokens > 0.0 {
        lines.push(format!("{:.0}% of the decoder's previous tokens are replaced by random ones", 100.0 * s.replaced_tokens));
    }
    if s.questions > 0.0 {
        lines.push(format!("{:.0}% of steps answer questions, from the text and, at the last level, from latents", 100.0 * s.questions));
    }
    if s.random_tokens > 0.0 {
        lines.push(format!("{:.0}% of rows hold uniformly random tokens", 100.0 * s.random_tokens));
    }
    match s.decoder {
        Some(decoder) => lines.push(format!("the decoder is trained along for {} steps, at {} of the rate", decoder.steps, decoder.rate)),
        None => lines.push("the decoder is frozen (paper)".into()),
    }
    if s.layout.text_positions > 0 {
        lines.push(format!("a latent stands at the centre of its block, texts at 0.., copies from {}", s.layout.text_positions));
    }
    if s.layout.block_mask {
        lines.push("the encoder's latent i sees block i and the latents before it".into());
    }
    if s.layout.covered_tokens > 0 {
        lines.push(format!("K latents have blocks of {} / K tokens, whatever K", s.layout.covered_tokens));
    }
    if s.layout.index_vectors {
        lines.push("a learnt vector tells a fed-back latent its index".into());
    }
    lines
}

/// Beside its default, for each key of the reader stage.
pub fn reader(s: &ReaderConfig) -> Vec<String> {
    let mut lines = vec![format!("{:.0}% of steps answer questions from latents, the others reconstruct", 100.0 * s.questions)];
    muon(s.optim.optimizer, &mut lines);
    if s.substitution > 0.0 {
        let share = 100.0 * s.substitution;
        lines.push(format!("in {share:.0}% of the steps with questions the first latents stand for their blocks, the rest stays text"));
    }
    if s.teacher > 0.0 {
        lines.push(format!("the untouched backbone, which reads the text, is followed with weight {}", s.teacher));
    }
    lines
}

fn muon(optimizer: Optimizer, lines: &mut Vec<String>) {
    if optimizer == Optimizer::Muon {
        lines.push("Muon trains the matrices of the layers, AdamW the rest".into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nextmem_training::OptimConfig;

    #[test]
    fn the_paper_needs_one_line_and_every_key_one_more() {
        let plain = SubstitutionConfig::plain(15, 16, 10, 10, OptimConfig::example());
        assert_eq!(stage2(&plain), ["the decoder is frozen (paper)"]);
        let other = SubstitutionConfig { progress: Progress::Length, replay: 0.2, detach: false, ..plain };
        let lines = stage2(&other);
        assert!(lines.len() == 4 && lines[2].contains("20%"), "{lines:?}");
        let asked = ReaderConfig { steps: 1, questions: 0.8, substitution: 0.5, teacher: 0.0, lora: None, optim: OptimConfig::example() };
        assert_eq!(reader(&asked).len(), 2);
        assert_eq!(reader(&ReaderConfig { substitution: 0.0, teacher: 1.0, ..asked }).len(), 2);
    }
}
