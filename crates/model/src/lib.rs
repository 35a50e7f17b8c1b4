//! Qwen3 in Burn, and the NextMem autoencoder built on it.
//!
//! Text goes in, a handful of latent vectors come out; the same weights turn them back into text, answer questions
//! from them and use them as the retrieval index.
//!
//! ```
//! use burn::tensor::Device;
//! use nextmem_model::{Autoencoder, Decoder, DecoderConfig, Decoding, Encoder, LatentLayout};
//!
//! let config = DecoderConfig {
//!     vocab_size: 64, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 4,
//!     num_key_value_heads: 2, head_dim: 16, rms_norm_eps: 1e-6, rope_theta: 1e4, tie_word_embeddings: true,
//!     max_position_embeddings: 128,
//! };
//! let decoder = Decoder::random(config, 0.02, 7, &Device::flex());
//! let model = Autoencoder { decoder, encoder: Encoder::Bare, special: None, sod: 62, layout: LatentLayout::default() };
//! let latents = model.encode(&[vec![5, 6, 7], vec![8]], 4);
//! assert_eq!(latents.dims(), [2, 4, 32]);
//! let tokens = model.decode(latents, true, 3, &[63], &Decoding::Greedy);
//! assert!(tokens.iter().all(|row| row.len() <= 3));
//! ```

mod autoencoder;
mod balance;
mod bert;
mod config;
mod decoder;
mod error;
mod fold;
mod generate;
mod json;
mod kv_cache;
mod layout;
mod lora;
mod memory_file;
mod method;
mod peft;
mod product;
mod random_checkpoint;
mod rope;
mod row_adapters;
mod special;
mod tensor_files;
mod tokenizer;
mod weight_source;
mod weights;

pub use burn::tensor::Device;

pub use autoencoder::{Autoencoder, Encoder, SpecialDelta, check_lengths, encode_embeds, pad_embeds, token_tensor};
pub use bert::{EncodedText, TextEncoder, check_encoder};
pub use config::DecoderConfig;
pub use decoder::{Attention, Decoder, DecoderLayer, Mlp, widened};
pub use error::ModelError;
pub use generate::{Decoding, generate};
pub use json::parse_json;
pub use kv_cache::KvCache;
pub use layout::{LatentLayout, LayoutConfig, Placement};
pub use lora::{LoraAdapter, LoraLayer, LoraPair, TARGETS};
pub use memory_file::{MemoryFile, MemoryRecord, fingerprint};
pub use method::{Abilities, AnswerMode, Latents, Memory, MemoryMethod, NextMem, NextMemOptions, Quantized, TextMemory, TooLong};
pub use method::{
    AdapterMemory, Bm25, Bm25Config, DocumentEmbedding, Dyprag, Hypernetwork, HypernetworkConfig, Icae, IndexHead, MeanPooled,
    MeanPooledConfig, closed_book_prompt, cosine, encode_slots, load_projection, load_slots, random_slots, save_projection, save_slots,
    words,
};
pub use method::{BGE_ENGLISH_INSTRUCTION, Bge, BgeConfig, Pooling};
pub use peft::{
    PeftConfig, adapter_notes, check_adapter_config, has_saved_embeddings, load_adapter, load_adapter_on, peft_factors, save_adapter,
};
pub use random_checkpoint::write_random_checkpoint;
pub use row_adapters::{AdaptedDecoder, RowAdapters, RowFactors};
pub use special::{SpecialTokensError, read_special_embeddings};
pub use tensor_files::{TensorFiles, WeightFiles, choose_weights, shards, sync_dir, weight_files, write_atomically};
pub use tokenizer::{Message, Tokenizer, TokenizerError, text_prompt};
pub use weights::{
    SPECIAL_FILE, SPECIAL_KEY, audit_decoder, audit_tensors, check_decoder, load_decoder, save_decoder, save_special_embeddings,
    untied_note,
};
