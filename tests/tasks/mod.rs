//! A few tasks on one thread. A task is polled when it was woken, and only then.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Waker};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

/// More rounds than any test needs.
const ROUNDS: usize = 10_000;

/// A waker that remembers.
pub(crate) struct Flag(AtomicBool);

impl Flag {
    /// Makes a flag that is set: whatever is new wants to be polled.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    /// Returns whether the flag was set, and clears it.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(crate) struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    flag: Arc<Flag>,
    /// How often the task was polled.
    pub(crate) polls: usize,
    is_over: bool,
}

pub(crate) fn spawn(tasks: &mut Vec<Task>, future: impl Future<Output = ()> + 'static) {
    tasks.push(Task {
        future: Box::pin(future),
        flag: Flag::new(),
        polls: 0,
        is_over: false,
    });
}

/// Polls each task that was woken, until none is.
pub(crate) fn settle(tasks: &mut [Task]) {
    for _ in 0..ROUNDS {
        let mut is_idle = true;
        for task in &mut *tasks {
            if !task.is_over && task.flag.take() {
                is_idle = false;
                task.polls += 1;
                let waker = Waker::from(task.flag.clone());
                let poll = task.future.as_mut().poll(&mut Context::from_waker(&waker));
                task.is_over = poll.is_ready();
            }
        }
        if is_idle {
            return;
        }
    }
    panic!("the tasks wake each other for ever");
}
