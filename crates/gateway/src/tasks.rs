//! Every task of the gateway is started here: it has a name, a stop signal, and someone who reads its end.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, watch};

/// Starts tasks and waits for their end. Cloned freely; all clones are one.
#[derive(Clone)]
pub struct Tasks {
    inner: Arc<Inner>,
}

struct Inner {
    running: AtomicUsize,
    ended: Notify,
    stop: watch::Sender<bool>,
}

/// Counts a task down however it ends; a panic is told, and ends nothing but its own session.
struct Running {
    inner: Arc<Inner>,
    name: &'static str,
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(blame = "us", task = self.name, "task panicked; please report this");
        }
        self.inner.running.fetch_sub(1, Ordering::SeqCst);
        self.inner.ended.notify_waiters();
    }
}

impl Default for Tasks {
    fn default() -> Tasks {
        Tasks {
            inner: Arc::new(Inner {
                running: AtomicUsize::new(0),
                ended: Notify::new(),
                stop: watch::Sender::new(false),
            }),
        }
    }
}

impl Tasks {
    /// Starts a task.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.running.fetch_add(1, Ordering::SeqCst);
        let running = Running { inner: Arc::clone(&self.inner), name };
        tokio::spawn(async move {
            let _running = running;
            task.await;
        });
    }
    /// Becomes true when the gateway shuts down.
    pub fn stop_signal(&self) -> watch::Receiver<bool> {
        self.inner.stop.subscribe()
    }
    /// Tells all tasks to come to an end.
    pub fn stop(&self) {
        self.inner.stop.send_replace(true);
    }
    /// Waits until no task runs.
    pub async fn ended(&self) {
        loop {
            let ended = self.inner.ended.notified();
            if self.inner.running.load(Ordering::SeqCst) == 0 {
                return;
            }
            ended.await;
        }
    }
}
