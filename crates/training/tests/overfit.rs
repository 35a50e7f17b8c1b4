//! A tiny model learns four texts by heart: through `[SoD]` in stage 1, through two latents in stage 2.
#![allow(clippy::unwrap_used)]

#[path = "shared/tiny.rs"]
mod tiny;

use std::time::Instant;

use nextmem_model::{Autoencoder, Decoder, Decoding, Encoder, LatentLayout, LoraAdapter, Placement};
use nextmem_training::{LatentOptions, SubstitutionModel, TokenModel, fit};
use tiny::{EOT, FixedRows, SOD, config, full, lora, optim, seeded, stage, substitution};

/// Longer than any copy, so that an `[EoT]` that does not come shows.
const LIMIT: usize = 9;

fn texts() -> Vec<Vec<u32>> {
    vec![vec![5, 17, 29, 3, 41, 8], vec![22, 5, 50, 11, 36, 2], vec![44, 13, 7, 29, 19, 55], vec![9, 31, 22, 48, 5, 26]]
}

fn reader(decoder: &Decoder, encoder: Encoder) -> Autoencoder {
    Autoencoder { decoder: decoder.clone(), encoder, special: None, sod: SOD, layout: LatentLayout::default() }
}

/// Greedy copies of `x [SoD]`, with no teacher.
fn copies(decoder: &Decoder) -> Vec<Vec<u32>> {
    let reader = reader(decoder, Encoder::Bare);
    let copy = |x: Vec<u32>| {
        reader.generate(reader.embed_ids(&[x, vec![SOD]].concat()), &[], &Placement::default(), LIMIT, &[EOT], &Decoding::Greedy).remove(0)
    };
    texts().into_iter().map(copy).collect()
}

/// Greedy copies of `[h_1; h_2; SoD]`.
fn decoded(decoder: &Decoder, encoder: Encoder) -> Vec<Vec<u32>> {
    let reader = reader(decoder, encoder);
    reader.decode(reader.encode(&texts(), 2), true, LIMIT, &[EOT], &Decoding::Greedy)
}

#[test]
fn four_texts_through_two_latents() {
    let since = Instant::now();
    let dir = tempfile::tempdir().unwrap();

    // 1. Stage 1, all parameters
    let base = seeded(31, |device| Decoder::random(config(), 0.1, 31, device));
    assert_ne!(copies(&base), texts());
    let model = TokenModel::new(full(base), None, SOD);
    let rows = FixedRows::new(texts(), None);
    let model = fit(model, stage(&dir.path().join("stage1"), 300, 50, optim(5e-3, 4), rows)).unwrap();
    let decoder = model.trainable.full.unwrap();
    assert_eq!(copies(&decoder), texts());
    println!("stage 1: {:.1} s, {:?}", since.elapsed().as_secs_f64(), tiny::metrics(&dir.path().join("stage1")).last());

    // 2. Stage 2, LoRA and all parameters: one latent and the second half as text, then two latents and no text
    let levels = substitution(2, 3, 150, 350);
    let adapter = seeded(32, |device| LoraAdapter::random(&config(), 8, 16.0, 32, device));
    assert_ne!(decoded(&decoder, Encoder::Adapter(adapter.clone())), texts());
    for (name, trainable) in [("lora", lora(adapter, None)), ("full", full(decoder.clone()))] {
        let dir = dir.path().join(name);
        let model = SubstitutionModel::new(trainable, decoder.clone(), None, SOD, LatentOptions::default());
        let rows = FixedRows::new(texts(), Some(levels.clone()));
        let trained = fit(model, stage(&dir, levels.steps(), 50, optim(5e-3, 4), rows)).unwrap().trainable;
        println!("stage 2, {name}: {:.1} s, {:?}", since.elapsed().as_secs_f64(), tiny::metrics(&dir).last());
        let encoder = match trained.full {
            Some(full) => Encoder::Full(Box::new(full)),
            None => Encoder::Adapter(trained.adapter.unwrap()),
        };
        assert_eq!(decoded(&decoder, encoder), texts(), "{name}");
        // Stage 2 leaves the decoder as it was.
        assert_eq!(copies(&decoder), texts());
    }
}
