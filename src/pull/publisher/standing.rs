//! A publisher that is there for as long as a node serves, and takes items whenever somebody has one.

use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Item, run};
use crate::pull::{Error, Pull};

/// See the module.
#[derive(Debug)]
pub struct Standing {
    items: Mutex<Option<mpsc::Sender<Item>>>,
    task: tokio::sync::Mutex<Option<JoinHandle<Result<(), Error>>>>,
}

impl Standing {
    /// Begins it; as many items as are published together may wait.
    #[must_use]
    pub fn begin(pull: &Arc<Pull>) -> Self {
        let (items, queue) = mpsc::channel(pull.limits.publish_batch);
        let task = tokio::spawn(run(Arc::clone(pull), queue));
        Self {
            items: Mutex::new(Some(items)),
            task: tokio::sync::Mutex::new(Some(task)),
        }
    }

    /// The way to it; `None` once it is closed.
    #[must_use]
    pub fn items(&self) -> Option<mpsc::Sender<Item>> {
        let items = self.items.lock().expect("no panic while it is held");
        items.clone()
    }

    /// Ends it once it has published what it was given.
    ///
    /// # Errors
    /// What it ended with.
    pub async fn close(&self) -> Result<(), Error> {
        drop(self.items.lock().expect("no panic while it is held").take());
        let task = self.task.lock().await.take();
        match task {
            Some(task) => task.await.unwrap_or(Err(Error::Worker)),
            None => Ok(()),
        }
    }
}
