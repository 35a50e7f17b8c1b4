//! `parity`: every tensor of an oracle directory (scripts/golden/make_oracle.py), recomputed and compared.

use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use nextmem_model::{
    Autoencoder, Decoder, Decoding, Encoder, LatentLayout, LoraAdapter, SpecialDelta, TensorFiles, encode_embeds, load_adapter,
    load_decoder, peft_factors,
};
use nextmem_quant::{Nf4Latents, Scales};
use nextmem_training::{
    Batch, LatentOptions, Objective, SubstitutionModel, TokenModel, Trainable, global_norm, reconstruction_row, substitution_row,
};
use serde_json::Value;

use crate::cli::BadInput;
use crate::device;
use crate::experiment::DeviceConfig;
use crate::parts::read_special;

/// Largest relative error of a float tensor, unless another is given.
const TOLERANCE: f64 = 1e-5;

/// The same where the device multiplies f32 in TF32: as for the rows of `portability`, 32 roundings of TF32.
const TF32_TOLERANCE: f64 = 32.0 / 4096.0;

/// Tolerance of tensors that the reference rounds to bf16: one unit in the last place.
const BF16_TOLERANCE: f64 = 1.0 / 128.0;

/// One unit in the last place of TF32, which has 11 bits, as `f32::EPSILON` is of f32, which has 24.
const TF32_EPSILON: f64 = 1.0 / 1024.0;

/// Roundings that two correct implementations may differ by in one forward pass.
const ROUNDINGS: f64 = 20.0;

/// The reference values and what recomputes them.
struct Oracle {
    files: TensorFiles,
    base: Decoder,
    autoencoder: Autoencoder,
    stage2: LoraAdapter,
    x: Vec<u32>,
    eot: u32,
    block: usize,
    latents: usize,
}

/// Compares all of it and fails if anything is above its tolerance: 1e-5 if none is given, and then products of a device
/// that multiplies in TF32 may be as far off as that is coarse, and say so.
pub fn parity(dir: &Path, backend: &str, tolerance: Option<f64>) -> Result<()> {
    let config = DeviceConfig { backend: backend.to_string(), ..DeviceConfig::default() };
    device::check(&config).map_err(|e| BadInput(format!("{e:#}")))?;
    let meta = read_meta(dir)?;
    let device = device::open(&config, 0)?;
    let oracle = Oracle::open(dir, &meta, &device)?;
    let keys: Vec<String> = oracle.files.keys().map(String::from).collect();
    let coarse = (tolerance.is_none() && device::multiplies_in_tf32(&device)).then_some(TF32_TOLERANCE);
    let tolerance = tolerance.unwrap_or(TOLERANCE);
    let mut report = Report { files: &oracle.files, tolerance, coarse, failed: 0, in_tf32: 0, seen: 0 };
    println!("{:<74} {:>12}  verdict", "tensor", "rel. error");
    oracle.forward(&mut report)?;
    oracle.losses(&mut report)?;
    oracle.quantised(&mut report)?;
    let left: Vec<&String> = keys.iter().filter(|k| !k.ends_with("input_ids")).collect();
    if report.seen != left.len() {
        bail!(
            "{} of the {} tensors in expected.safetensors were compared; it was made by another version of the script",
            report.seen,
            left.len()
        );
    }
    match report.failed {
        0 => {
            let coarse = match report.in_tf32 {
                0 => String::new(),
                n => format!(", {n} of them as closely as TF32 can"),
            };
            println!(
                "all {} tensors agree with transformers {} and peft {}{coarse}",
                report.seen,
                text(&meta, "transformers"),
                text(&meta, "peft")
            );
            Ok(())
        }
        n => bail!("{n} of {} tensors are above their tolerance ({tolerance:e})", report.seen),
    }
}

fn read_meta(dir: &Path) -> Result<Value> {
    let path = dir.join("meta.json");
    let read = std::fs::read(&path)
        .map_err(|e| BadInput(format!("{}: {e}; expected a directory made by scripts/golden/make_oracle.py", path.display())))?;
    serde_json::from_slice(&read).map_err(|e| BadInput(format!("{}: {e}", path.display())).into())
}

fn text<'a>(meta: &'a Value, key: &str) -> &'a str {
    meta[key].as_str().unwrap_or("?")
}

fn number(meta: &Value, key: &str) -> Result<u32> {
    let value = meta[key].as_str().and_then(|s| s.parse().ok()).or_else(|| meta[key].as_u64().map(|n| n as u32));
    value.ok_or_else(|| BadInput(format!("meta.json: key `{key}`: got {}, expected a number", meta[key])).into())
}

struct Report<'a> {
    files: &'a TensorFiles,
    tolerance: f64,
    /// What is allowed beyond it, where the device multiplies in TF32.
    coarse: Option<f64>,
    failed: usize,
    in_tf32: usize,
    seen: usize,
}

impl Report<'_> {
    /// One verdict: within its tolerance, or within the coarser one of TF32.
    fn line(&mut self, key: &str, error: f64, tolerance: f64, coarse: Option<f64>) {
        // A NaN is never good.
        let good = error <= tolerance;
        let in_tf32 = !good && coarse.is_some_and(|coarse| error <= coarse);
        let verdict = match (good, in_tf32) {
            (true, _) => "ok",
            (_, true) => "ok in TF32",
            _ => "FAILED",
        };
        println!("{key:<74} {error:>12.3e}  {verdict}");
        self.seen += 1;
        self.in_tf32 += usize::from(in_tf32);
        self.failed += usize::from(!good && !in_tf32);
    }

    /// Largest difference over the largest reference value.
    fn floats(&mut self, key: &str, got: &[f32], tolerance: f64) -> Result<()> {
        let expected = self.files.read_f32(key)?;
        let error = relative(got, &expected);
        let coarse = self.coarse.filter(|_| tolerance > 0.0);
        self.line(key, error, tolerance, coarse);
        Ok(())
    }

    /// One rounding of the factors of this device's products.
    fn epsilon(&self) -> f64 {
        self.coarse.map_or(f64::from(f32::EPSILON), |_| TF32_EPSILON)
    }

    /// A line of the recurrence on its own, which is as good as its conditioning allows.
    fn recurrent(&mut self, key: &str, label: &str, got: &[f32], tolerance: f64, amplification: f64) -> Result<()> {
        let error = relative(got, &self.files.read_f32(key)?);
        let allowed = ROUNDINGS * amplification;
        match self.coarse {
            Some(coarse) => self.line(label, error, tolerance, Some(coarse.max(allowed))),
            None => self.line(label, error, tolerance.max(allowed), None),
        }
        Ok(())
    }

    fn tensor<const D: usize>(&mut self, key: &str, got: Tensor<D>) -> Result<()> {
        let tolerance = self.tolerance;
        self.floats(key, &values(got), tolerance)
    }

    /// Share of entries that differ; only 0 passes.
    fn exact(&mut self, key: &str, got: &[i64]) -> Result<()> {
        let expected = self.files.read_ints(key)?;
        let wrong = expected.iter().zip(got).filter(|(a, b)| a != b).count() + expected.len().abs_diff(got.len());
        self.line(key, wrong as f64 / expected.len().max(1) as f64, 0.0, None);
        Ok(())
    }
}

/// Largest difference over the largest expected value; infinite for another number of values.
fn relative(got: &[f32], expected: &[f32]) -> f64 {
    if got.len() != expected.len() {
        return f64::INFINITY;
    }
    let largest = expected.iter().fold(0.0f64, |m, v| m.max(f64::from(v.abs())));
    let difference = got.iter().zip(expected).fold(0.0f64, |m, (a, b)| {
        let d = f64::from((a - b).abs());
        if d.is_nan() { f64::NAN } else { m.max(d) }
    });
    difference / largest.max(1e-30)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

impl Oracle {
    fn open(dir: &Path, meta: &Value, device: &Device) -> Result<Self> {
        let files = TensorFiles::open_file(&dir.join("expected.safetensors"))?;
        let base = load_decoder(&dir.join("base"), device)?;
        let sod = number(meta, "sod_id")?;
        let hidden = base.config().hidden_size;
        let stage1 = load_adapter(&dir.join("stage1"), base.config(), device)?;
        let stage2 = load_adapter(&dir.join("stage2"), base.config(), device)?;
        let special = read_special(&dir.join("stage1"), hidden, device)?.map(|delta| SpecialDelta { sod, delta });
        let decoder = stage1.merge(base.clone());
        let autoencoder = Autoencoder { decoder, encoder: Encoder::Adapter(stage2.clone()), special, sod, layout: LatentLayout::default() };
        let x = files.read_ints("encode.input_ids")?.iter().map(|id| *id as u32).collect();
        Ok(Self {
            files,
            base,
            autoencoder,
            stage2,
            x,
            eot: number(meta, "eot_id")?,
            block: number(meta, "block")? as usize,
            latents: number(meta, "latents")? as usize,
        })
    }

    /// Plain and merged forward passes, encoding and decoding.
    fn forward(&self, report: &mut Report<'_>) -> Result<()> {
        let device = self.base.device();
        let shape = self.files.shape("plain.input_ids").unwrap_or_default();
        let [batch, seq] = shape[..] else { bail!(BadInput(format!("plain.input_ids: got shape {shape:?}, expected [batch, seq]"))) };
        let ids: Vec<i32> = self.files.read_ints("plain.input_ids")?.iter().map(|i| *i as i32).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [batch, seq]), &device);
        let states = self.base.hidden_states(self.base.embed(ids.clone()));
        for (i, state) in states.iter().enumerate() {
            report.tensor(&format!("plain.hidden.{i}"), state.clone())?;
        }
        report.tensor("plain.logits", self.base.logits(states[states.len() - 1].clone()))?;
        let model = &self.autoencoder;
        let merged = model.decoder.hidden(model.decoder.embed(ids), &[], None, None);
        report.tensor("stage1.logits", model.decoder.logits(merged))?;

        // Each latent from the reference's previous ones; then all on our own, where the recurrence amplifies rounding.
        let reference = self.reference_latents()?;
        let given = self.latents - 1;
        let stage2 = self.stage2().valid();
        let batch = Batch::new(self.latents, vec![substitution_row(&self.x, self.latents, self.block, model.sod, self.eot)]);
        report.tensor("encode.latents", stage2.latents_after(&batch, reference.clone().narrow(1, 0, given)))?;
        let free = model.encode(std::slice::from_ref(&self.x), self.latents);
        let amplification = self.amplification(&free, report.epsilon());
        let label = format!("encode.latents (free-running; one rounding moves it by {amplification:.1e})");
        report.recurrent("encode.latents", &label, &values(free.clone()), report.tolerance, amplification)?;
        // That line is beside the reference's own.
        report.seen -= 1;
        report.tensor("index.vector", reference.clone().mean_dim(1))?;
        let prompt = Tensor::cat(vec![reference.clone(), model.embed_ids(&[model.sod])], 1);
        let last = model.decoder.hidden(prompt, &[], None, None).narrow(1, self.latents, 1);
        report.tensor("decode.first_logits", model.decoder.logits(last))?;
        let count = self.files.shape("decode.greedy_ids").and_then(|s| s.last().copied()).unwrap_or(0);
        let greedy = model.decode(free, true, count, &[], &Decoding::Greedy).remove(0);
        report.exact("decode.greedy_ids", &greedy.iter().map(|id| i64::from(*id)).collect::<Vec<_>>())?;
        let teacher = [&[model.sod], self.x.as_slice(), &[self.eot]].concat();
        let input = Tensor::cat(vec![reference, model.embed_ids(&teacher)], 1);
        report.tensor("decode.teacher_logits", model.decoder.logits(model.decoder.hidden(input, &[], None, None)))
    }

    /// # Shapes
    /// - returns `[1, latents, hidden]`
    fn reference_latents(&self) -> Result<Tensor<3>> {
        let shape = [1, self.latents, self.autoencoder.hidden_size()];
        let values = self.files.read_f32("encode.latents")?;
        if values.len() != shape.iter().product::<usize>() {
            bail!(BadInput(format!("encode.latents: got {} values, expected shape {shape:?}", values.len())));
        }
        Ok(Tensor::from_data(TensorData::new(values, shape), &self.base.device()))
    }

    /// How far the latents move when the input moves by one rounding: no two implementations agree better.
    fn amplification(&self, latents: &Tensor<3>, epsilon: f64) -> f64 {
        let model = &self.autoencoder;
        let (decoder, adapter) = model.encoder();
        let embeds = model.embed_ids(&[self.x.as_slice(), &[model.sod]].concat());
        let noise = embeds.random_like(Distribution::Uniform(-1.0, 1.0)) * epsilon;
        let moved = encode_embeds(decoder, adapter, embeds.clone() + embeds * noise, &[], &model.layout, self.latents);
        relative(&values(moved), &values(latents.clone()))
    }

    fn stage2(&self) -> SubstitutionModel {
        let model = &self.autoencoder;
        let trainable = Trainable { full: None, adapter: Some(self.stage2.clone()), special: None };
        SubstitutionModel::new(trainable, model.decoder.clone(), model.special.clone(), model.sod, LatentOptions::default())
    }

    /// Losses of both stages, and gradients of stage 2 in its one-forward form.
    fn losses(&self, report: &mut Report<'_>) -> Result<()> {
        let model = &self.autoencoder;
        let special = model.special.as_ref().map(|s| burn::module::Param::from_tensor(s.delta.clone()));
        let stage1 = TokenModel::new(Trainable { full: Some(model.decoder.clone()), adapter: None, special }, None, model.sod);
        let row = reconstruction_row(&self.x, model.sod, self.eot, false);
        report.tensor("stage1.loss", stage1.valid().loss(&Batch::new(0, vec![row])))?;

        let reference = self.reference_latents()?;
        let stage2 = self.stage2().train();
        let levels = self.files.shape("stage2.loss").and_then(|s| s.first().copied()).unwrap_or(0);
        let (mut losses, mut norms) = (Vec::new(), Vec::new());
        for level in 1..=levels {
            let row = substitution_row(&self.x, level, self.block, model.sod, self.eot);
            let batch = Batch::new(level, vec![row]);
            // The fed-back latents carry no gradient; taking the reference's keeps their rounding out of ours.
            let fed_back = match level {
                1 => Tensor::zeros([1, 0, model.hidden_size()], &self.base.device()),
                _ => reference.clone().narrow(1, 0, level - 1),
            };
            let fed_back = Tensor::from_inner(fed_back);
            let loss = stage2.loss_of(&batch, stage2.latents_after(&batch, fed_back));
            let grads = GradientsParams::from_grads(loss.backward(), &stage2);
            losses.extend(values(loss.inner()));
            norms.push(global_norm(&stage2, &grads) as f32);
            let prefix = format!("stage2.grad.k{level}.");
            let adapter = stage2.trainable.adapter.as_ref().context("stage 2 trains an adapter")?;
            for (name, factor) in peft_factors(adapter) {
                let key = format!("{prefix}{}", name.replace(".weight", ".default.weight"));
                if self.files.shape(&key).is_some() {
                    let grad = grads.get::<2>(factor.id).with_context(|| format!("no gradient for {name}"))?;
                    report.tensor(&key, grad)?;
                }
            }
        }
        let tolerance = report.tolerance;
        report.floats("stage2.loss", &losses, tolerance)?;
        report.floats("stage2.grad_norm", &norms, tolerance)
    }

    /// NF4 from the reference's own bf16 latents, so that codes can be held to exactness.
    fn quantised(&self, report: &mut Report<'_>) -> Result<()> {
        let ours = self.autoencoder.encode(std::slice::from_ref(&self.x), self.latents);
        let amplification = self.amplification(&ours, report.epsilon());
        let rounded: Vec<f32> = values(ours).iter().map(|v| half::bf16::from_f32(*v).to_f32()).collect();
        report.recurrent("nf4.input_bf16", "nf4.input_bf16", &rounded, BF16_TOLERANCE, amplification)?;
        let input = self.files.read_f32("nf4.input_bf16")?;
        let quantised = Nf4Latents::quantize(&input, self.latents, self.autoencoder.hidden_size(), Scales::Absmax)?;
        report.exact("nf4.codes", &quantised.codes().iter().map(|c| i64::from(*c)).collect::<Vec<_>>())?;
        report.floats("nf4.scales_f32", &quantised.scales_f32(), 0.0)?;
        report.floats("nf4.dequantized", &quantised.dequantize(), 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (failed, in TF32) of a line with an error, a tolerance and TF32's.
    fn verdict(error: f64, tolerance: f64, coarse: Option<f64>) -> (usize, usize) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures/oracle/tied/expected.safetensors");
        let files = TensorFiles::open_file(&dir).expect("the oracle");
        let mut report = Report { files: &files, tolerance, coarse, failed: 0, in_tf32: 0, seen: 0 };
        report.line("row", error, tolerance, coarse);
        (report.failed, report.in_tf32)
    }

    /// As on an H200, where products of f32 are off by a thousandth.
    #[test]
    fn tf32_is_allowed_where_the_device_has_it_and_counted() {
        assert_eq!(verdict(1e-3, TOLERANCE, None), (1, 0));
        assert_eq!(verdict(1e-3, TOLERANCE, Some(TF32_TOLERANCE)), (0, 1));
        assert_eq!(verdict(1e-6, TOLERANCE, Some(TF32_TOLERANCE)), (0, 0));
        assert_eq!(verdict(1e-2, TOLERANCE, Some(TF32_TOLERANCE)), (1, 0));
        assert_eq!(verdict(f64::NAN, TOLERANCE, Some(TF32_TOLERANCE)), (1, 0));
        assert_eq!(verdict(0.5, 0.0, None), (1, 0));
    }
}
