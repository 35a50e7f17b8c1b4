//! Write-time refinement: the encoder's latents, optimised until the decoder writes the text exactly. Not the paper's method.

use burn::tensor::Tensor;
use nextmem_model::{AnswerMode, Latents, Memory, MemoryMethod, ModelError, NextMem};
use nextmem_quant::Scales;
use nextmem_training::{RefineConfig, refine};

/// Rate of Adam as a share of the latents' root mean square (ours).
const LEARNING_RATE: f64 = 0.05;

/// Memories of passages, refined; for each the gradient steps after which its copy was exact, if it was.
///
/// With `nf4` a memory is optimised and judged after the round trip through NF4, which it then survives.
///
/// # Errors
/// As encoding.
pub fn refined(
    nextmem: &NextMem,
    passages: &[&str],
    steps: usize,
    nf4: Option<Scales>,
) -> Result<Vec<(Memory, Option<usize>)>, ModelError> {
    let memories = nextmem.encode(passages)?;
    if memories.is_empty() {
        return Ok(Vec::new());
    }
    let (reader, tokenizer) = (nextmem.autoencoder(), nextmem.tokenizer());
    let most = nextmem.options().max_input_tokens;
    let row = |passage: &&str| -> Result<Vec<u32>, ModelError> {
        let mut row = tokenizer.encode(passage)?;
        row.truncate(most);
        Ok(row)
    };
    let rows = passages.iter().map(row).collect::<Result<Vec<_>, _>>()?;
    let start = memories.iter().map(|memory| Ok(memory.latents()?.on_device(&reader.device()))).collect::<Result<Vec<_>, ModelError>>()?;
    let config = RefineConfig { steps, learning_rate: LEARNING_RATE, nf4 };
    let found = refine(reader, &rows, Tensor::cat(start, 0), tokenizer.end_of_text(), &config);
    Ok(Latents::on_host(found.latents).into_iter().map(Memory::Latents).zip(found.exact_after).collect())
}

/// NextMem whose memories are refined when they are written; everything else is NextMem's.
pub struct RefinedNextMem {
    /// The method inside.
    pub inner: NextMem,
    /// Most gradient steps.
    pub steps: usize,
    /// The NF4 that the memories have to survive.
    pub nf4: Option<Scales>,
}

impl MemoryMethod for RefinedNextMem {
    fn name(&self) -> String {
        format!("{} + refine", self.inner.name())
    }

    fn answer_modes(&self) -> &'static [AnswerMode] {
        self.inner.answer_modes()
    }

    fn encode(&self, passages: &[&str]) -> Result<Vec<Memory>, ModelError> {
        Ok(refined(&self.inner, passages, self.steps, self.nf4)?.into_iter().map(|(memory, _)| memory).collect())
    }

    fn reconstruct(&self, memories: &[Memory]) -> Result<Vec<String>, ModelError> {
        self.inner.reconstruct(memories)
    }

    fn answer(&self, memories: &[Memory], questions: &[&str], mode: AnswerMode) -> Result<Vec<String>, ModelError> {
        self.inner.answer(memories, questions, mode)
    }

    fn index(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        let texts: Vec<&str> = texts.iter().map(|text| if text.trim().is_empty() { "None" } else { *text }).collect();
        self.encode(&texts)?.iter().map(|memory| self.inner.vector(memory)).collect()
    }

    fn vector(&self, memory: &Memory) -> Result<Vec<f32>, ModelError> {
        self.inner.vector(memory)
    }

    fn query_vectors(&self, queries: &[&str]) -> Result<Option<Vec<Vec<f32>>>, ModelError> {
        // A query is not kept, so that it is not refined either.
        match self.inner.query_vectors(queries)? {
            Some(vectors) => Ok(Some(vectors)),
            None => self.inner.index(queries).map(Some),
        }
    }
}
