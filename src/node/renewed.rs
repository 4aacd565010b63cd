//! The same node with other settings, while it runs: what is taken up at once, and what only from the next start on.

use std::sync::Arc;

use super::{Node, fit};
use crate::config::Config;

impl Node {
    /// The same node with other settings. Who it is, where its media and its catalogue lie, where and how it listens, which tables it
    /// passes on and which programs it found stay as they are until it is opened again; [`needs_start`](Self::needs_start) says which of
    /// them the settings would have otherwise.
    #[must_use]
    pub fn with(&self, mut config: Config) -> Self {
        let now = &self.config;
        config.node = now.node.clone();
        config.state = now.state.clone();
        config.media.root = now.media.root.clone();
        config.media.names = now.media.names;
        config.serve.listen = now.serve.listen;
        config.serve.pull_through = now.serve.pull_through;
        if config.serve.tls.is_some() != now.serve.tls.is_some() {
            config.serve.tls = now.serve.tls.clone();
        }
        config.relay_tables = now.relay_tables.clone();
        config.adapters = now.adapters.clone();
        fit(&mut config, &self.adapters);
        self.throttle.set(&config.limits);
        self.at_once.set(&config);
        Self {
            config: Arc::new(config),
            ..self.clone()
        }
    }

    /// The members of the configuration file that are not as this node has them, and that it takes up only when it is started again.
    #[must_use]
    pub fn needs_start(&self, new: &Config) -> Vec<&'static str> {
        let now = &self.config;
        let others = [
            ("node.name", now.node.name != new.node.name),
            (
                "node.cluster_id",
                now.node.cluster_id != new.node.cluster_id,
            ),
            ("node.catalog", now.node.catalog != new.node.catalog),
            ("state", now.state != new.state),
            ("media.root", now.media.root != new.media.root),
            ("media.names", now.media.names != new.media.names),
            ("serve.listen", now.serve.listen != new.serve.listen),
            (
                "serve.pull_through",
                now.serve.pull_through != new.serve.pull_through,
            ),
            (
                "serve.tls_cert",
                now.serve.tls.is_some() != new.serve.tls.is_some(),
            ),
            ("relay_tables", now.relay_tables != new.relay_tables),
            ("adapters", now.adapters != new.adapters),
        ];
        let others = others.into_iter().filter(|(_, is_other)| *is_other);
        others.map(|(key, _)| key).collect()
    }
}
