//! Tables of the portability test.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use serde_json::{Value, json};

use super::Target;
use super::compare::Row;
use super::operations::OPERATIONS;
use crate::plan::Plan;
use crate::run_dir::{arguments, provenance};

/// One device's results.
pub struct Section {
    /// What was asked for.
    pub target: Target,
    /// What the device calls itself.
    pub device: String,
    /// Whether rows may be in TF32.
    pub tf32: bool,
    /// Seconds from start to end.
    pub seconds: f64,
    /// The verdicts.
    pub rows: Vec<Row>,
}

impl Section {
    fn failed(&self) -> Vec<&Row> {
        self.rows.iter().filter(|r| !r.ok()).collect()
    }

    fn summary(&self) -> String {
        match (&self.target.absent, self.failed()[..].first()) {
            (Some(reason), _) => format!("not measured: {reason}"),
            (None, None) => match self.rows.iter().filter(|r| r.in_tf32()).count() {
                0 => format!("all {} rows agree", self.rows.len()),
                coarse => format!("all {} rows agree, {coarse} of them as closely as TF32 can", self.rows.len()),
            },
            (None, Some(first)) => {
                format!("{} of {} rows do not agree, the first: {} ({})", self.failed().len(), self.rows.len(), first.row, first.verdict)
            }
        }
    }
}

fn file(plan: &Plan, out: &Path, extension: &str) -> PathBuf {
    out.join(format!("{}.{extension}", plan.experiment.name))
}

/// Markdown and JSON into files: of all `asked` devices, or of those that are finished.
pub fn save(plan: &Plan, sections: &[Section], asked: usize, out: &Path) -> Result<()> {
    let name = &plan.experiment.name;
    let mut text = format!(
        "# Portability of {name}\n\nBackbone: {}. Every row is compared with flex in f64; error = largest difference over the largest \
         value, for ids the share that differs.\nA device may be 20 times as far off as flex is in the same float type, and always 32 \
         roundings of that type.\n\nCommand: `nextmem {}`\n\n| device | name | seconds | result |\n|---|---|---|---|\n",
        plan.backbone_label(),
        arguments(),
    );
    for s in sections {
        let seconds = if s.target.absent.is_some() { "-".into() } else { format!("{:.0}", s.seconds) };
        text.push_str(&format!("| {} | {} | {seconds} | {} |\n", s.target.label(), s.device, s.summary()));
    }
    if sections.len() < asked {
        text.push_str(&format!("\nNot finished: {} of {asked} devices.\n", sections.len()));
    }
    if sections.iter().any(|s| s.tf32) {
        text.push_str(
            "\nTF32: this device multiplies f32 with factors rounded to 11 bits, by the choice of the kernel library, which has no switch \
             for it. Rows with products may then be off by 20/8 of what flex loses in bf16, which has 3 bits less, and say so.\n",
        );
    }
    let used: Vec<String> = OPERATIONS.iter().map(|op| format!("{} ({})", op.name, op.used)).collect();
    text.push_str(&format!("\nOperations and where they are used: {}.\n", used.join("; ")));
    for s in sections.iter().filter(|s| s.target.absent.is_none()) {
        text.push_str(&format!(
            "\n## {}: {}\n\n| row | shape | error | flex | tolerance | because | verdict |\n|---|---|---|---|---|---|---|\n",
            s.target.label(),
            s.device
        ));
        for r in &s.rows {
            let number = |n: Option<f64>| n.map_or("-".to_string(), |n| format!("{n:.1e}"));
            let Row { row, shape, tolerance, because, verdict, .. } = r;
            text.push_str(&format!(
                "| {row} | {shape} | {} | {} | {tolerance:.1e} | {because} | {verdict} |\n",
                number(r.error),
                number(r.flex_error)
            ));
        }
    }
    let devices: Vec<Value> = sections
        .iter()
        .map(
            |s| json!({"device": s.target.config, "fused": s.target.fused, "tf32": s.tf32, "name": s.device, "not_measured": s.target.absent, "seconds": s.seconds, "rows": s.rows}),
        )
        .collect();
    let all = json!({"experiment": name, "backbone": plan.backbone_label(), "provenance": provenance(), "devices": devices});
    nextmem_model::write_atomically(&file(plan, out, "md"), text.as_bytes())?;
    nextmem_model::write_atomically(&file(plan, out, "json"), format!("{all:#}\n").as_bytes())?;
    Ok(())
}

/// The summary on the terminal, and an error if a device disagrees.
pub fn conclude(plan: &Plan, sections: &[Section], out: &Path) -> Result<()> {
    let mut shown = Table::new();
    shown.load_style(UTF8_FULL_CONDENSED).set_header(["device", "name", "result"]);
    for s in sections {
        shown.add_row([s.target.label(), s.device.clone(), s.summary()]);
    }
    println!("{shown}\n\neverything is in {}", file(plan, out, "md").display());
    let wrong: Vec<String> = sections.iter().filter(|s| !s.failed().is_empty()).map(|s| s.target.label()).collect();
    if !wrong.is_empty() {
        bail!("{} computes something else than the CPU; the table names the rows", wrong.join(", "));
    }
    Ok(())
}
