//! Linear warm-up, the peak for as long as asked, then cosine decay.

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};

/// `lr(t) = peak t / warmup` for t <= warmup, the peak until `hold`, then a cosine to `peak * min_ratio` at `total`.
#[derive(Clone, Debug)]
pub struct WarmupCosine {
    peak: f64,
    warmup: usize,
    hold: usize,
    total: usize,
    min_ratio: f64,
    step: usize,
}

impl WarmupCosine {
    /// A schedule of `total` steps.
    pub fn new(peak: f64, warmup: usize, total: usize, min_ratio: f64) -> Self {
        Self { peak, warmup, hold: warmup, total, min_ratio, step: 0 }
    }

    /// The same with the peak kept until a step.
    pub fn holding(self, until: usize) -> Self {
        Self { hold: self.warmup.max(until), ..self }
    }

    fn rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * step as f64 / self.warmup as f64;
        }
        let span = self.total.saturating_sub(self.hold).max(1) as f64;
        let done = (step.saturating_sub(self.hold) as f64 / span).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        self.peak * (self.min_ratio + (1.0 - self.min_ratio) * cosine)
    }
}

impl LrScheduler for WarmupCosine {
    fn step(&mut self) -> f64 {
        self.step += 1;
        self.rate(self.step)
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar("step", self.step as u64)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        if let Some(step) = record.scalar::<u64>("step") {
            self.step = step as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warms_up_decays_and_resumes() {
        let mut schedule = WarmupCosine::new(1.0, 4, 12, 0.1);
        let rates: Vec<f64> = (0..12).map(|_| schedule.step()).collect();
        assert!((rates[0] - 0.25).abs() < 1e-12 && (rates[3] - 1.0).abs() < 1e-12);
        assert!(rates[4..].windows(2).all(|w| w[1] < w[0]));
        assert!((rates[11] - 0.1).abs() < 1e-12);
        let mut held = WarmupCosine::new(1.0, 4, 12, 0.1).holding(8);
        let kept: Vec<f64> = (0..12).map(|_| held.step()).collect();
        assert!(kept[3..8].iter().all(|rate| (rate - 1.0).abs() < 1e-12) && kept[8] < 1.0 && (kept[11] - 0.1).abs() < 1e-12);
        let mut first = WarmupCosine::new(1.0, 4, 12, 0.1);
        (0..5).for_each(|_| {
            first.step();
        });
        let mut second = WarmupCosine::new(1.0, 4, 12, 0.1);
        second.load_record(first.to_record());
        assert_eq!(second.step(), rates[5]);
    }
}
