//! Batches of a stage as burn-train's data loader.

use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

use crate::batch::{Batch, Row, RowSource};

/// Yields the batches of steps `start..total`, `accumulation` of them a step.
#[derive(Clone)]
pub(crate) struct StepLoader {
    rows: Arc<dyn RowSource>,
    batch_size: usize,
    accumulation: usize,
    start: usize,
    total: usize,
}

impl StepLoader {
    pub(crate) fn new(rows: Arc<dyn RowSource>, batch_size: usize, accumulation: usize, start: usize, total: usize) -> Arc<Self> {
        Arc::new(Self { rows, batch_size, accumulation, start, total })
    }
}

impl DataLoader<Batch> for StepLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        Box::new(StepIterator { loader: self, next: self.start * self.accumulation })
    }

    fn num_items(&self) -> usize {
        (self.total - self.start) * self.accumulation * self.batch_size
    }

    fn to_device(&self, _device: &Device) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(self.clone())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Batch>> {
        let step = self.batch_size * self.accumulation;
        Arc::new(Self { start: self.start + start / step, total: self.start + end / step, ..self.clone() })
    }
}

struct StepIterator<'a> {
    loader: &'a StepLoader,
    next: usize,
}

impl Iterator for StepIterator<'_> {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let loader = self.loader;
        if self.next >= loader.total * loader.accumulation {
            return None;
        }
        let step = self.next / loader.accumulation;
        let level = loader.rows.level(step);
        let first = (self.next * loader.batch_size) as u64;
        self.next += 1;
        let rows: Result<Vec<_>, _> = (first..first + loader.batch_size.min(level.rows) as u64)
            .map(|place| loader.rows.row(place, level).map(|row| Row { place, ..row }))
            .collect();
        Some(rows.map(|rows| Batch { level: level.latents, rows, block: level.block, step }).map_err(DatasetError::new))
    }
}

impl DataLoaderIterator<Batch> for StepIterator<'_> {
    fn progress(&self) -> Progress {
        let loader = self.loader;
        Progress::new((self.next - loader.start * loader.accumulation) * loader.batch_size, loader.num_items(), None)
    }
}
