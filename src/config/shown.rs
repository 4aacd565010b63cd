//! Every setting as it holds, and where it comes from, for a person to read: `emsync config check --show`.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

use super::network::{CaFile, Proxy};
use super::read::line_of;
use super::units::{show_duration, show_size};
use super::{Config, Event, KeySource, Limits, Names, Peer, Program};
use crate::model::{MediaPath, NodeId};

/// One setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// With its section: `limits.transfers`, `peer.master.base_url`.
    pub key: String,
    /// What holds; `***` for a secret, null for nothing.
    pub value: Value,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line.
    Flag(&'static str),
    /// A variable of the environment.
    Variable(&'static str),
    /// That line of the file.
    Line(usize),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Variable(variable) => write!(f, "environment {variable}"),
            Self::Line(line) => write!(f, "file, line {line}"),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Config {
    /// Every setting; `text` is what this configuration was read from.
    #[must_use]
    pub fn settings(&self, text: &str) -> Vec<Setting> {
        let root = DeTable::parse(text).map(toml::Spanned::into_inner);
        let mut list = List {
            root: root.unwrap_or_default(),
            text,
            all: Vec::new(),
        };
        list.top(self);
        list.limits(&self.limits);
        for (name, program) in &self.adapters {
            let value = match program {
                Program::Off => json!(false),
                Program::At(path) => json!(path),
            };
            list.add("adapters", name, value);
        }
        for (index, peer) in self.peers.iter().enumerate() {
            list.peer(index, peer);
        }
        list.add("notify", "ping", hidden(self.notify.ping.is_some()));
        list.add("notify", "webhook", hidden(self.notify.webhook.is_some()));
        list.add("notify", "command", json!(self.notify.command));
        for (index, event) in self.events.iter().enumerate() {
            list.event(index, event);
        }
        list.presets();
        list.all
    }
}

struct List<'t> {
    root: DeTable<'t>,
    text: &'t str,
    all: Vec<Setting>,
}

impl List<'_> {
    fn top(&mut self, config: &Config) {
        let (node, media, serve) = (&config.node, &config.media, &config.serve);
        self.add("", "state", json!(config.state));
        let tables = config.relay_tables.iter().map(|table| table.as_str());
        self.add("", "relay_tables", tables.collect());
        self.add("node", "name", json!(node.name));
        self.add("node", "cluster_id", json!(node.cluster_id.as_str()));
        self.add("node", "catalog", json!(node.catalog.as_str()));
        self.add("media", "root", json!(media.root));
        self.add("media", "thumb_threads", json!(media.thumb_threads));
        self.add("media", "max_pixels", json!(media.max_pixels));
        let names = match media.names {
            Names::Auto => "auto",
            Names::Portable => "portable",
        };
        self.add("media", "names", json!(names));
        // What the peers decide is worth more than the word "auto".
        let mode = format!("{:?}", config.mode()).to_lowercase();
        self.add("media", "mode", json!(mode));
        for (key, default) in [("presets", json!("webp")), ("preset_lists", Value::Null)] {
            let value = self.written("media", 0, key).unwrap_or(default);
            self.add("media", key, value);
        }
        self.add("serve", "listen", json!(serve.listen));
        let tls = serve.tls.as_ref();
        self.add("serve", "tls_cert", json!(tls.map(|tls| &tls.cert)));
        self.add("serve", "tls_key", json!(tls.map(|tls| &tls.key)));
        self.add("serve", "trusted_proxy", json!(serve.trusted_proxy));
        let cache = serve.max_cache.map_or_else(|| "0".to_owned(), show_size);
        for (key, value) in [
            ("public_renditions", json!(serve.public_renditions)),
            ("max_age", json!(show_duration(serve.max_age))),
            (
                "stale_while_revalidate",
                json!(show_duration(serve.stale_while_revalidate)),
            ),
            ("pull_through", json!(serve.pull_through)),
            ("max_cache", json!(cache)),
        ] {
            self.add("serve", key, value);
        }
        self.add("scrub", "days", json!(config.scrub.days));
        let bandwidth = config.scrub.bandwidth.to_string();
        self.add("scrub", "bandwidth", json!(bandwidth));
        let versions = config.retention.versions.unwrap_or_default();
        self.add("trash", "versions", json!(show_duration(versions)));
        let network = &config.network;
        let proxy = match &network.proxy {
            Proxy::Environment => json!("environment"),
            Proxy::Off => json!("none"),
            Proxy::At(_) => hidden(true),
        };
        self.add("network", "proxy", proxy);
        let ca = network.ca.as_ref();
        self.add("network", "ca_file", json!(ca.map(CaFile::path)));
    }

    fn limits(&mut self, limits: &Limits) {
        let span = |span: Duration| json!(show_duration(span));
        let guard = limits.max_delete.map(|limit| limit.to_string());
        let guard = guard.unwrap_or_else(|| "5%, at least 10, at most 1000".to_owned());
        let rate = limits.tpslimit.unwrap_or_default();
        for (key, value) in [
            ("transfers", json!(limits.transfers)),
            ("bwlimit", json!(limits.bwlimit.to_string())),
            ("tpslimit", json!(rate)),
            ("tpslimit_burst", json!(limits.tpslimit_burst)),
            ("attempts", json!(limits.attempts)),
            ("retry_base", span(limits.retry_base)),
            ("retry_cap", span(limits.retry_cap)),
            ("timeout", span(limits.timeout)),
            ("contimeout", span(limits.contimeout)),
            ("list_timeout", span(limits.list_timeout)),
            ("max_clock_skew", span(limits.max_clock_skew)),
            ("overlap", span(limits.overlap)),
            ("large_file", json!(show_size(limits.large_file))),
            ("handoff_depth", json!(limits.handoff_depth)),
            ("publish_batch", json!(limits.publish_batch)),
            ("reserve", json!(show_size(limits.reserve))),
            ("trash_days", json!(limits.trash_days)),
            ("max_delete", json!(guard)),
            ("full_listing", span(limits.full_listing)),
        ] {
            self.add("limits", key, value);
        }
    }

    fn peer(&mut self, index: usize, peer: &Peer) {
        let id = peer.cluster_id.as_ref().map(NodeId::as_str);
        let guard = peer.max_delete.map(|limit| limit.to_string());
        let generated = format!("{:?}", peer.generated).to_lowercase();
        let mut all = vec![
            ("name", json!(peer.name)),
            ("base_url", json!(peer.base_url.as_str())),
            ("cluster_id", json!(id)),
        ];
        all.push(match peer.key_source() {
            None => ("key", Value::Null),
            Some(KeySource::Inline(_)) => ("key", hidden(true)),
            Some(KeySource::File(path)) => ("key_file", json!(path)),
            Some(KeySource::Env(variable)) => ("key_env", json!(variable)),
        });
        all.extend([
            ("enabled", json!(peer.enabled)),
            ("pull_originals", json!(peer.pull_originals)),
            ("generated", json!(generated)),
            ("push", json!(peer.push)),
            ("push_originals", json!(peer.push_originals)),
            ("sidecar", json!(peer.sidecar)),
            ("insecure_session", json!(peer.insecure_session)),
            ("max_delete", json!(guard)),
            ("ca_file", json!(peer.network.ca.as_ref().map(CaFile::path))),
        ]);
        // What narrows a peer is shown as it is written, and not where it is not.
        for key in [
            "include",
            "exclude",
            "categories",
            "exclude_categories",
            "collections",
            "min_size",
            "max_size",
            "min_age",
            "max_age",
            "all_renditions",
        ] {
            all.extend(self.written("peer", index, key).map(|value| (key, value)));
        }
        for (key, value) in all {
            self.add_of(("peer", index, &peer.name), key, value);
        }
    }

    fn event(&mut self, index: usize, event: &Event) {
        let span = |span: Option<Duration>| json!(span.map(show_duration));
        let when = event.when.to_string();
        let (kind, when) = when.split_once(' ').unwrap_or(("every", ""));
        let when = (if kind == "cron" { "cron" } else { "every" }, json!(when));
        for (key, value) in [
            ("name", json!(event.name)),
            ("action", json!(event.action.name())),
            ("peer", json!(event.peer)),
            when,
            ("start", json!(event.start.map(|start| start.to_string()))),
            ("window", json!(event.window.map(|part| part.to_string()))),
            ("jitter", span(Some(event.jitter))),
            ("make_up", json!(event.makes_up)),
            ("max_transfer", json!(event.max_transfer.map(show_size))),
            ("max_duration", span(event.max_duration)),
            ("dir", json!(event.folder.as_ref().map(|of| &of.dir))),
            (
                "prefix",
                json!(
                    event
                        .folder
                        .as_ref()
                        .and_then(|of| of.prefix.as_ref())
                        .map(MediaPath::as_str)
                ),
            ),
            ("thumbs", json!(event.folder.as_ref().map(|of| of.thumbs))),
            ("ping", hidden(event.ping.is_some())),
            ("enabled", json!(event.enabled)),
        ] {
            self.add_of(("event", index, &event.name), key, value);
        }
    }

    /// What sections of presets say, as it is written: the table that comes of them has a row for every one of EMDB's.
    fn presets(&mut self) {
        let Some(DeValue::Array(array)) = self.root.get("preset").map(|value| value.get_ref())
        else {
            return;
        };
        let mut found = Vec::new();
        for section in array.iter() {
            let DeValue::Table(table) = section.get_ref() else {
                continue;
            };
            let id = table.get("id").and_then(|id| id.get_ref().as_str());
            for (key, value) in table {
                let line = line_of(self.text, value.span().start);
                found.push(Setting {
                    key: format!("preset.{}.{}", id.unwrap_or_default(), key.get_ref()),
                    value: plain(value.get_ref()),
                    origin: Origin::Line(line),
                });
            }
        }
        self.all.append(&mut found);
    }

    fn add(&mut self, section: &str, key: &str, value: Value) {
        let shown = match section {
            "" => key.to_owned(),
            section => format!("{section}.{key}"),
        };
        self.push(section, 0, (key, shown), value);
    }

    fn add_of(&mut self, of: (&str, usize, &str), key: &str, value: Value) {
        let (section, index, name) = of;
        self.push(
            section,
            index,
            (key, format!("{section}.{name}.{key}")),
            value,
        );
    }

    fn push(&mut self, section: &str, index: usize, key: (&str, String), value: Value) {
        let (key, shown) = key;
        let line = self.value(section, index, key).map(|value| value.span());
        let origin = line.map_or(Origin::Default, |span| {
            Origin::Line(line_of(self.text, span.start))
        });
        self.all.push(Setting {
            key: shown,
            value,
            origin,
        });
    }

    fn written(&self, section: &str, index: usize, key: &str) -> Option<Value> {
        let value = self.value(section, index, key)?;
        Some(plain(value.get_ref()))
    }

    fn value(&self, section: &str, index: usize, key: &str) -> Option<&toml::Spanned<DeValue<'_>>> {
        if section.is_empty() {
            return self.root.get(key);
        }
        match self.root.get(section)?.get_ref() {
            DeValue::Table(table) => table.get(key),
            DeValue::Array(array) => match array.get(index)?.get_ref() {
                DeValue::Table(table) => table.get(key),
                _ => None,
            },
            _ => None,
        }
    }
}

fn hidden(is_there: bool) -> Value {
    if is_there { json!("***") } else { Value::Null }
}

/// A value of the file as JSON.
fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => json!(text),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| json!(number.as_str()), Value::from),
        DeValue::Float(number) => json!(number.as_str()),
        DeValue::Boolean(flag) => json!(flag),
        DeValue::Datetime(date) => json!(date.to_string()),
        DeValue::Array(array) => array.iter().map(|item| plain(item.get_ref())).collect(),
        DeValue::Table(_) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn fixture(name: &str) -> (Config, String) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets-fixtures/config/good");
        let text = std::fs::read_to_string(dir.join(name)).unwrap();
        (Config::parse(&text, &dir.join(name)).unwrap(), text)
    }

    /// `full.toml` holds every key there is, so none is forgotten here.
    #[test]
    fn every_line_of_a_file_is_shown_as_the_origin_of_something_and_no_secret_is() {
        let (config, text) = fixture("full.toml");
        let settings = config.settings(&text);
        let shown: BTreeSet<usize> = settings
            .iter()
            .filter_map(|setting| match setting.origin {
                Origin::Line(line) => Some(line),
                _ => None,
            })
            .collect();
        for (number, line) in (1..).zip(text.lines()) {
            if line.contains(" = ") && !line.starts_with('#') {
                assert!(
                    shown.contains(&number),
                    "line {number} is not shown: {line}"
                );
            }
        }
        assert!(!format!("{settings:?}").contains("planted"));
        let of = |key: &str| settings.iter().find(|one| one.key == key).unwrap();
        assert_eq!(of("limits.transfers").value, 32);
        assert_eq!(of("peer.master.key").value, "***");
        assert_eq!(of("peer.spare.push_originals").origin, Origin::Default);
        assert_eq!(of("peer.spare.push_originals").value, true);
        assert_eq!(of("event.proof.cron").value, "0 7 * * Mon");
    }

    #[test]
    fn what_nobody_said_is_a_default() {
        let (config, text) = fixture("minimal.toml");
        let said = config.settings(&text).into_iter();
        let said = said.filter(|setting| setting.origin != Origin::Default);
        let keys: Vec<_> = said.map(|setting| setting.key).collect();
        assert!(keys.iter().all(|key| key.starts_with("node.")), "{keys:?}");
        assert!(!keys.is_empty());
    }
}
