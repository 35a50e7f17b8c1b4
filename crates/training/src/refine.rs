//! Latents optimised directly, with no encoder: what a decoder can be made to write, and memories made exact when they are written.

use burn::module::{Module, Param};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Tensor, TensorData};
use nextmem_model::Autoencoder;
use nextmem_quant::{Nf4Latents, Scales};

use crate::batch::{Batch, memory_row};
use crate::objective::{hidden_after_latents, learnt_log_probabilities};

/// How latents are optimised.
#[derive(Clone, Copy, Debug)]
pub struct RefineConfig {
    /// Most gradient steps.
    pub steps: usize,
    /// The rate of Adam as a share of the latents' root mean square.
    pub learning_rate: f64,
    /// The latents must survive NF4: they are optimised and judged after its round trip.
    pub nf4: Option<Scales>,
}

/// Latents that were optimised.
#[derive(Debug)]
pub struct Refined {
    /// `[batch, latents, hidden]`: of each row those that wrote its text exactly, or the last ones.
    pub latents: Tensor<3>,
    /// The step after which each row was exact (0: as it came); none where it never was.
    pub exact_after: Vec<Option<usize>>,
    /// Share of each row's tokens, its end among them, that are right where the true tokens stand before them.
    pub token_accuracy: Vec<f64>,
}

#[derive(Module, Debug)]
struct Free {
    latents: Param<Tensor<3>>,
}

/// Optimises the latents of texts against a frozen decoder until it would write every text exactly, or the steps are used up.
///
/// A text whose every token is the likeliest one after the true tokens before it is what greedy decoding writes.
///
/// # Shapes
/// - latents: `[batch, latents, hidden]`, one memory per row of tokens
pub fn refine(reader: &Autoencoder, rows: &[Vec<u32>], latents: Tensor<3>, end_of_text: u32, config: &RefineConfig) -> Refined {
    let [_, count, hidden] = latents.dims();
    let size = latents.clone().square().mean().into_data().iter::<f64>().sum::<f64>().sqrt().max(1e-6);
    let batch = Batch::new(count, rows.iter().map(|x| memory_row(x, reader.sod, end_of_text)).collect());
    let mut model = Free { latents: Param::from_tensor(latents) }.train();
    let mut optimizer = AdamWConfig::new().with_weight_decay(0.0).init();
    let mut exact_after = vec![None; rows.len()];
    let mut token_accuracy = vec![0.0; rows.len()];
    let mut kept: Vec<Option<Tensor<3>>> = vec![None; rows.len()];
    for step in 0..=config.steps {
        let current = model.latents.val();
        let stored = match config.nf4 {
            Some(scales) => through_nf4(current.clone(), scales, [count, hidden]),
            None => current.clone(),
        };
        let states = hidden_after_latents((&reader.decoder, None), &reader.special, reader.sod, &reader.layout, &batch, stored);
        let (log_probabilities, targets) = learnt_log_probabilities(&reader.decoder, states, &batch);

        // 1. Which rows are exact
        let likeliest: Vec<i64> = log_probabilities.clone().inner().argmax(1).into_data().iter::<i64>().collect();
        let wanted: Vec<i64> = targets.clone().into_data().iter::<i64>().collect();
        let mut place = 0;
        for (row, exact) in exact_after.iter_mut().enumerate() {
            let learnt: usize = batch.rows[row].learnt.iter().map(|range| range.len()).sum();
            let right = (place..place + learnt).filter(|at| likeliest[*at] == wanted[*at]).count();
            place += learnt;
            if exact.is_none() {
                token_accuracy[row] = right as f64 / learnt.max(1) as f64;
                if right == learnt {
                    *exact = Some(step);
                    kept[row] = Some(current.clone().inner().narrow(0, row, 1));
                }
            }
        }
        if step == config.steps || exact_after.iter().all(Option::is_some) {
            break;
        }

        // 2. A step
        let loss = log_probabilities.gather(1, targets).mean().neg();
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(config.learning_rate * size, model, grads);
    }
    let last = model.latents.val().inner();
    let rows = kept.into_iter().enumerate().map(|(row, kept)| kept.unwrap_or_else(|| last.clone().narrow(0, row, 1)));
    Refined { latents: Tensor::cat(rows.collect(), 0), exact_after, token_accuracy }
}

/// Latents as NF4 gives them back; their gradient is that of the latents as they are.
pub(crate) fn through_nf4(latents: Tensor<3>, scales: Scales, [count, hidden]: [usize; 2]) -> Tensor<3> {
    let plain = latents.clone().inner();
    let shape = plain.dims();
    let memories: Vec<f32> = plain.clone().into_data().iter::<f32>().collect();
    let round_trip = |memory: &[f32]| match Nf4Latents::quantize(memory, count, hidden, scales) {
        Ok(packed) => packed.dequantize().iter().zip(memory).map(|(q, v)| q - v).collect(),
        // No number: the loss says so.
        Err(_) => vec![f32::NAN; memory.len()],
    };
    let difference: Vec<f32> = memories.chunks(count * hidden).flat_map(round_trip).collect();
    let difference = Tensor::<3>::from_data(TensorData::new(difference, shape), &plain.device());
    latents + Tensor::from_inner(difference)
}
