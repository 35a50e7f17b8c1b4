//! `explain`: what a run would do, from the same plan as `run`, without loading a weight.

use anyhow::Result;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use nextmem_model::TARGETS;
use nextmem_training::LoraConfig;

use crate::cost::{self, Cost};
use crate::experiment::{Origin, StageName, flatten};
use crate::plan::{Plan, tasks};
use crate::run_dir::RunDir;
use crate::source::Source;

mod words;

/// Test passages whose information is averaged.
const COUNTED: usize = 200;

/// The whole explanation as text.
pub fn explain(plan: &Plan) -> Result<String> {
    let e = &plan.experiment;
    let mut keys = Table::new();
    keys.load_style(UTF8_FULL_CONDENSED).set_header(["key", "value", "origin"]);
    for (key, value) in flatten(e)? {
        let origin = match plan.origins.get(&key).copied().unwrap_or(Origin::Default) {
            Origin::Set => "set",
            Origin::Base => "base",
            Origin::Default => "default",
        };
        keys.add_row([key, value, origin.to_string()]);
    }

    let mut facts = Table::new();
    facts.load_style(UTF8_FULL_CONDENSED).set_header(["what", "value"]);
    let total = plan.backbone.num_params();
    facts.add_row(["backbone".to_string(), format!("{}, {} parameters", plan.backbone_label(), group(total))]);
    let (dense, nf4) = plan.memory_bytes();
    let latents = e.method.nextmem.num_latents;
    facts.add_row([
        "bytes per memory".to_string(),
        format!("{latents} latents: bf16 {}, NF4 {} ({:.2}x smaller)", group(dense), group(nf4), dense as f64 / nf4 as f64),
    ]);
    if let Some(icae) = &e.baselines.icae {
        facts.add_row([
            "ICAE".to_string(),
            format!("{} slots: bf16 {} bytes", icae.slots, group(2 * icae.slots * plan.backbone.hidden_size)),
        ]);
    }
    if let Some(dyprag) = &e.baselines.dyprag {
        let (rank, values) = (dyprag.hypernetwork.rank, dyprag.hypernetwork.num_values(&plan.backbone));
        facts.add_row(["DyPRAG".to_string(), format!("LoRA of rank {rank} per passage: bf16 {} bytes", group(2 * values))]);
    }
    let (encode, decode) = cost::per_memory(plan);
    let (encode, decode, text) = (cost::scaled(encode, "FLOP"), cost::scaled(decode, "FLOP"), cost::passage_tokens(plan));
    facts.add_row(["one memory".to_string(), format!("encode {encode}, decode {decode}, for a passage of {text} tokens")]);
    let names: Vec<StageName> = plan.stages.iter().map(|(name, _)| *name).collect();
    let stage1 = e.train.reconstruction.as_ref().filter(|_| names.contains(&StageName::Reconstruction)).map(words::stage1);
    let stage2 = e.train.substitution.as_ref().filter(|_| names.contains(&StageName::Substitution)).map(words::stage2);
    let reader = e.train.reader.as_ref().filter(|_| names.contains(&StageName::Reader)).map(words::reader);
    for (stage, lines) in [("stage 1", stage1), ("stage 2", stage2), ("reader", reader)] {
        lines.into_iter().flatten().for_each(|line| {
            facts.add_row([stage.to_string(), line]);
        });
    }
    if let Source::Facts(generated) = &plan.source {
        for unseen in std::iter::once(false).chain(generated.has_unseen_wordings().then_some(true)) {
            if let Some(bits) = generated.bits(unseen, COUNTED) {
                let wordings = if unseen { " of unseen wordings" } else { "" };
                facts.add_row([
                    "information".to_string(),
                    format!("a test passage{wordings} has at most {bits:.0} bits, {:.1} a latent", bits / latents as f64),
                ]);
            }
        }
    }
    for note in &plan.notes {
        facts.add_row(["note".to_string(), note.clone()]);
    }
    for missing in &plan.missing {
        facts.add_row(["missing".to_string(), missing.clone()]);
    }
    facts.add_row(["data".to_string(), format!("{} {}", plan.source.name(), plan.data_identity)]);
    for (task, config) in tasks(e) {
        facts.add_row([format!("task {}", task.name()), format!("at most {} items; {}", config.limit, config.metrics.join(", "))]);
    }

    let run = RunDir::planned(plan);
    let mut stages = Table::new();
    stages.load_style(UTF8_FULL_CONDENSED).set_header([
        "stage",
        "steps",
        "passages",
        "trained parameters",
        "positions",
        "operations",
        "memory",
        "state",
    ]);
    for (name, fingerprint) in &plan.stages {
        let (steps, optim, trained) = match name {
            StageName::Pretrain => e.train.pretrain.as_ref().map(|s| (s.steps, &s.optim, total)),
            StageName::Reconstruction => {
                e.train.reconstruction.as_ref().map(|s| (s.steps, &s.optim, trained(plan, &s.lora, 3 * plan.backbone.hidden_size)))
            }
            StageName::Substitution => e.train.substitution.as_ref().map(|s| (s.steps(), &s.optim, trained(plan, &s.lora, 0))),
            StageName::Index => {
                let projection = plan.backbone.hidden_size * plan.backbone.hidden_size;
                e.train.index.as_ref().map(|s| (s.steps, &s.optim, trained(plan, &s.lora, 0) + projection))
            }
            StageName::Reader => e.train.reader.as_ref().map(|s| (s.steps, &s.optim, trained(plan, &s.lora, 0))),
            StageName::Icae => {
                e.baselines.icae.as_ref().map(|s| (s.steps, &s.optim, trained(plan, &s.lora, 0) + s.slots * plan.backbone.hidden_size))
            }
            StageName::Dyprag => e.baselines.dyprag.as_ref().map(|s| (s.steps, &s.optim, s.hypernetwork.num_params(&plan.backbone))),
        }
        .unwrap_or((0, &EMPTY_OPTIM, 0));
        // Levels may have fewer rows than the optimizer's batch.
        let passages = match name {
            StageName::Substitution => e.train.substitution.as_ref().map(|s| s.passages(e.train_seed())),
            StageName::Icae => e.baselines.icae.as_ref().map(|s| s.stage(e.train.substitution.as_ref()).passages(e.train_seed())),
            _ => None,
        }
        .unwrap_or(steps * optim.batch_size * optim.accumulation);
        let state = match run.finished(*name, fingerprint) {
            Some(dir) => format!("done in {}", dir.display()),
            None => "to run".into(),
        };
        let estimate = |of: fn(&Cost) -> f64, unit: &str| cost::stage(plan, *name).map_or("-".into(), |c| cost::scaled(of(&c), unit));
        stages.add_row([
            name.dir().to_string(),
            group(steps),
            group(passages),
            group(trained),
            estimate(|c| c.tokens, ""),
            estimate(|c| c.flops, "FLOP"),
            estimate(|c| c.memory, "B"),
            state,
        ]);
    }

    let mut files = vec!["experiment.toml", "resolved.toml", "manifest.json"].into_iter().map(String::from).collect::<Vec<_>>();
    for (name, _) in &plan.stages {
        files.extend(["metrics.jsonl", "done.json", "weights/"].map(|f| format!("{}/{f}", name.dir())));
    }
    if !tasks(e).is_empty() {
        files.extend(["samples/*.jsonl", "scores.json", "table.md"].map(String::from));
    }
    let assumed = format!("positions, operations and memory are estimates for passages of {text} tokens");
    Ok(format!("{keys}\n\n{facts}\n\n{stages}\n{assumed}\n\nfiles in {}:\n  {}", plan.dir.display(), files.join("\n  ")))
}

const EMPTY_OPTIM: nextmem_training::OptimConfig = nextmem_training::OptimConfig {
    optimizer: nextmem_training::Optimizer::AdamW,
    muon_learning_rate: None,
    learning_rate: 0.0,
    warmup_steps: 0,
    min_lr_ratio: 0.0,
    weight_decay: 0.0,
    beta_1: 0.0,
    beta_2: 0.0,
    clip_norm: 0.0,
    batch_size: 0,
    accumulation: 0,
};

/// Parameters that a stage changes: all, or the LoRA factors and the special-token rows.
fn trained(plan: &Plan, lora: &Option<LoraConfig>, special: usize) -> usize {
    let Some(lora) = lora else { return plan.backbone.num_params() };
    let per_layer: usize = TARGETS.iter().filter_map(|t| plan.backbone.projection(t)).map(|[i, o]| lora.rank * (i + o)).sum();
    plan.backbone.num_hidden_layers * per_layer + special
}

/// 1234567 as 1,234,567.
fn group(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn groups_of_three() {
        assert_eq!([0, 999, 1000, 1234567].map(super::group), ["0", "999", "1,000", "1,234,567"]);
    }
}
