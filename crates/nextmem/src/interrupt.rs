//! SIGINT and SIGTERM: training saves a checkpoint and stops; everything else ends at once, as it would without this.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::Error;
use nextmem_training::TrainError;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Exit codes of processes that a signal ended are this and its number.
const SIGNALLED: u8 = 128;

/// What the handlers set.
struct State {
    /// The signal that came, or 0.
    came: Arc<AtomicUsize>,
    /// Whether the next signal ends the process at once.
    ends: Arc<AtomicBool>,
}

static STATE: OnceLock<Option<State>> = OnceLock::new();

/// While this lives a first signal is only noted; a second one ends the process.
pub struct Noted(());

impl Noted {
    /// Notes signals from now on. Where the system has none of them, nothing changes.
    pub fn begin() -> Self {
        if let Some(state) = STATE.get_or_init(install) {
            state.ends.store(false, Ordering::SeqCst);
        }
        Self(())
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if let Some(Some(state)) = STATE.get() {
            state.ends.store(true, Ordering::SeqCst);
        }
    }
}

fn install() -> Option<State> {
    let state = State { came: Arc::default(), ends: Arc::default() };
    for signal in [SIGINT, SIGTERM] {
        // In this order: what the first signal sets is for the second one.
        flag::register_conditional_default(signal, state.ends.clone()).ok()?;
        flag::register_usize(signal, state.came.clone(), usize::try_from(signal).ok()?).ok()?;
        flag::register(signal, state.ends.clone()).ok()?;
    }
    Some(state)
}

/// The signal that came while it was only noted.
pub fn wanted() -> Option<usize> {
    let came = STATE.get()?.as_ref()?.came.load(Ordering::SeqCst);
    (came > 0).then_some(came)
}

/// The exit code of an error that is a stop which a signal asked for.
pub fn code(error: &Error) -> Option<u8> {
    let stopped = error.chain().any(|e| matches!(e.downcast_ref(), Some(TrainError::Stopped { .. })));
    let signal = u8::try_from(wanted()?).ok()?;
    stopped.then_some(SIGNALLED + signal)
}

/// Whether an exit code is that of such a stop.
pub fn ended_with(code: u8) -> bool {
    code > SIGNALLED
}
