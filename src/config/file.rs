//! `emsync.toml` as written: every key optional, unknown ones refused, nothing resolved and no default applied.
//!
//! This page is the list of what may stand in the file. Values keep the line they came from, so that `mod.rs` can
//! complain about them by key, file and line.

use std::path::Path;

use super::error::{Error, Place};
use super::read::{At, Section};
use super::secret::Secret;

/// The whole file.
pub(super) struct Written {
    pub(super) node: Node,
    pub(super) media: Media,
    pub(super) state: Option<At<String>>,
    pub(super) relay_tables: Vec<At<String>>,
    pub(super) limits: Limits,
    pub(super) scrub: Scrub,
    pub(super) trash: Trash,
    pub(super) serve: Serve,
    pub(super) network: Network,
    /// `[adapters]`: empty text for one that is switched off.
    pub(super) adapters: Vec<(&'static str, At<String>)>,
    pub(super) peers: Vec<Peer>,
    pub(super) events: Vec<Event>,
    pub(super) notify: Notify,
    pub(super) presets: Vec<Preset>,
}

/// `[node]`
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) name: Option<At<String>>,
    pub(super) cluster_id: Option<At<String>>,
    pub(super) catalog: Option<At<String>>,
}

/// `[media]`
pub(super) struct Media {
    pub(super) root: Option<At<String>>,
    pub(super) thumb_threads: Option<At<u64>>,
    pub(super) max_pixels: Option<At<u64>>,
    pub(super) names: Option<At<String>>,
    pub(super) mode: Option<At<String>>,
    pub(super) presets: Option<At<String>>,
    pub(super) preset_lists: Option<At<String>>,
}

/// `[limits]`
pub(super) struct Limits {
    pub(super) transfers: Option<At<u64>>,
    pub(super) bwlimit: Option<At<String>>,
    pub(super) tpslimit: Option<At<String>>,
    pub(super) tpslimit_burst: Option<At<u64>>,
    pub(super) attempts: Option<At<u64>>,
    pub(super) retry_base: Option<At<String>>,
    pub(super) retry_cap: Option<At<String>>,
    pub(super) timeout: Option<At<String>>,
    pub(super) contimeout: Option<At<String>>,
    pub(super) list_timeout: Option<At<String>>,
    pub(super) max_clock_skew: Option<At<String>>,
    pub(super) overlap: Option<At<String>>,
    pub(super) large_file: Option<At<String>>,
    pub(super) handoff_depth: Option<At<u64>>,
    pub(super) publish_batch: Option<At<u64>>,
    pub(super) reserve: Option<At<String>>,
    pub(super) trash_days: Option<At<u64>>,
    pub(super) max_delete: Option<At<String>>,
    pub(super) full_listing: Option<At<String>>,
}

/// `[scrub]`
pub(super) struct Scrub {
    pub(super) days: Option<At<u64>>,
    pub(super) bandwidth: Option<At<String>>,
}

/// `[trash]`
pub(super) struct Trash {
    pub(super) versions: Option<At<String>>,
}

/// `[serve]`
pub(super) struct Serve {
    pub(super) listen: Option<At<String>>,
    pub(super) tls_cert: Option<At<String>>,
    pub(super) tls_key: Option<At<String>>,
    pub(super) trusted_proxy: Option<At<String>>,
    pub(super) public_renditions: Option<At<bool>>,
    pub(super) max_age: Option<At<String>>,
    pub(super) stale_while_revalidate: Option<At<String>>,
    pub(super) pull_through: Option<At<bool>>,
    pub(super) max_cache: Option<At<String>>,
}

/// `[network]`
pub(super) struct Network {
    pub(super) proxy: Option<At<Secret>>,
    pub(super) ca_file: Option<At<String>>,
}

/// `[[peer]]`
pub(super) struct Peer {
    pub(super) place: Place,
    pub(super) name: Option<At<String>>,
    pub(super) base_url: Option<At<String>>,
    pub(super) cluster_id: Option<At<String>>,
    pub(super) key: Option<At<Secret>>,
    pub(super) key_file: Option<At<String>>,
    pub(super) key_env: Option<At<String>>,
    pub(super) enabled: Option<At<bool>>,
    pub(super) pull_originals: Option<At<bool>>,
    pub(super) generated: Option<At<String>>,
    pub(super) push: Option<At<bool>>,
    pub(super) push_originals: Option<At<bool>>,
    pub(super) sidecar: Option<At<bool>>,
    pub(super) insecure_session: Option<At<bool>>,
    pub(super) max_delete: Option<At<String>>,
    pub(super) ca_file: Option<At<String>>,
    pub(super) include: Vec<At<String>>,
    pub(super) exclude: Vec<At<String>>,
    pub(super) categories: Vec<At<String>>,
    pub(super) exclude_categories: Vec<At<String>>,
    pub(super) collections: Vec<At<String>>,
    pub(super) min_size: Option<At<String>>,
    pub(super) max_size: Option<At<String>>,
    pub(super) min_age: Option<At<String>>,
    pub(super) max_age: Option<At<String>>,
    pub(super) all_renditions: Option<At<bool>>,
}

/// `[notify]`
pub(super) struct Notify {
    pub(super) ping: Option<At<Secret>>,
    pub(super) webhook: Option<At<Secret>>,
    pub(super) command: Option<At<String>>,
}

/// `[[event]]`
pub(super) struct Event {
    pub(super) place: Place,
    pub(super) name: Option<At<String>>,
    pub(super) action: Option<At<String>>,
    pub(super) peer: Option<At<String>>,
    pub(super) every: Option<At<String>>,
    pub(super) cron: Option<At<String>>,
    pub(super) start: Option<At<String>>,
    pub(super) window: Option<At<String>>,
    pub(super) jitter: Option<At<String>>,
    pub(super) make_up: Option<At<bool>>,
    pub(super) max_transfer: Option<At<String>>,
    pub(super) max_duration: Option<At<String>>,
    pub(super) dir: Option<At<String>>,
    pub(super) prefix: Option<At<String>>,
    pub(super) thumbs: Option<At<bool>>,
    pub(super) ping: Option<At<Secret>>,
    pub(super) enabled: Option<At<bool>>,
}

/// `[[preset]]`
pub(super) struct Preset {
    pub(super) place: Place,
    pub(super) id: Option<At<String>>,
    pub(super) inputs: Vec<At<String>>,
    pub(super) transcoder: Option<At<String>>,
    pub(super) file_name: Option<At<String>>,
    pub(super) extension: Option<At<String>>,
    pub(super) size: Option<At<String>>,
    pub(super) shape: Option<At<String>>,
    pub(super) gravity: Option<At<String>>,
    pub(super) x: Option<At<i64>>,
    pub(super) y: Option<At<i64>>,
    pub(super) crop_size: Option<At<String>>,
    pub(super) crop_last: Option<At<bool>>,
    pub(super) rotate: Option<At<i64>>,
    pub(super) extent: Option<At<String>>,
    pub(super) background: Option<At<String>>,
    pub(super) flatten: Option<At<bool>>,
    pub(super) quality: Option<At<i64>>,
    pub(super) webp_method: Option<At<i64>>,
    pub(super) sampling: Option<At<String>>,
    pub(super) dpi: Option<At<i64>>,
    pub(super) time_offset: Option<At<String>>,
    pub(super) colour_space: Option<At<String>>,
    pub(super) watermark: Option<At<bool>>,
    pub(super) on_import: Option<At<bool>>,
    pub(super) display: Option<At<bool>>,
    pub(super) single_page: Option<At<bool>>,
    pub(super) ordering: Option<At<i64>>,
    pub(super) use_original: Option<At<bool>>,
}

impl Written {
    /// Takes the text apart. `file` is only named in errors.
    pub(super) fn parse(text: &str, file: &Path) -> Result<Self, Error> {
        Self::take(Section::parse(text, file)?)
    }

    /// Takes a parsed document apart.
    pub(super) fn take(mut top: Section<'_>) -> Result<Self, Error> {
        let written = Self {
            node: Node::take(top.table("node")?)?,
            media: Media::take(top.table("media")?)?,
            state: top.text("state")?,
            relay_tables: top.texts("relay_tables")?,
            limits: Limits::take(top.table("limits")?)?,
            scrub: Scrub::take(top.table("scrub")?)?,
            trash: Trash::take(top.table("trash")?)?,
            serve: Serve::take(top.table("serve")?)?,
            network: Network::take(top.table("network")?)?,
            adapters: adapters(top.table("adapters")?)?,
            peers: top
                .tables("peer", "a list, each entry headed [[peer]]")?
                .into_iter()
                .map(Peer::take)
                .collect::<Result<_, _>>()?,
            notify: Notify::take(top.table("notify")?)?,
            events: top
                .tables("event", "a list, each entry headed [[event]]")?
                .into_iter()
                .map(Event::take)
                .collect::<Result<_, _>>()?,
            presets: top
                .tables("preset", "a list, each entry headed [[preset]]")?
                .into_iter()
                .map(Preset::take)
                .collect::<Result<_, _>>()?,
        };
        top.done()?;
        Ok(written)
    }
}

fn adapters(mut section: Section<'_>) -> Result<Vec<(&'static str, At<String>)>, Error> {
    let mut chosen = Vec::new();
    for name in super::ADAPTERS {
        chosen.extend(section.program(name)?.map(|at| (name, at)));
    }
    section.done()?;
    Ok(chosen)
}

impl Node {
    fn take(mut section: Section<'_>) -> Result<Self, Error> {
        let node = Self {
            place: section.place(),
            name: section.text("name")?,
            cluster_id: section.text("cluster_id")?,
            catalog: section.text("catalog")?,
        };
        section.done()?;
        Ok(node)
    }
}

impl Media {
    fn take(mut section: Section<'_>) -> Result<Self, Error> {
        let media = Self {
            root: section.text("root")?,
            thumb_threads: section.whole("thumb_threads")?,
            max_pixels: section.whole("max_pixels")?,
            names: section.text("names")?,
            mode: section.text("mode")?,
            presets: section.text("presets")?,
            preset_lists: section.text("preset_lists")?,
        };
        section.done()?;
        Ok(media)
    }
}

impl Limits {
    fn take(mut section: Section<'_>) -> Result<Self, Error> {
        let limits = Self {
            transfers: section.whole("transfers")?,
            bwlimit: section.text("bwlimit")?,
            tpslimit: section.number("tpslimit")?,
            tpslimit_burst: section.whole("tpslimit_burst")?,
            attempts: section.whole("attempts")?,
            retry_base: section.span("retry_base")?,
            retry_cap: section.span("retry_cap")?,
            timeout: section.span("timeout")?,
            contimeout: section.span("contimeout")?,
            list_timeout: section.span("list_timeout")?,
            max_clock_skew: section.span("max_clock_skew")?,
            overlap: section.span("overlap")?,
            large_file: section.amount("large_file")?,
            handoff_depth: section.whole("handoff_depth")?,
            publish_batch: section.whole("publish_batch")?,
            reserve: section.amount("reserve")?,
            trash_days: section.whole("trash_days")?,
            max_delete: section.amount("max_delete")?,
            full_listing: section.span("full_listing")?,
        };
        section.done()?;
        Ok(limits)
    }
}

impl Scrub {
    fn take(mut section: Section<'_>) -> Result<Self, Error> {
        let scrub = Self {
            days: section.whole("days")?,
            bandwidth: section.text("bandwidth")?,
        };
        section.done()?;
        Ok(scrub)
    }
}

impl Trash {
    fn take(mut section: Section<'_>) -> Result<Self, Error> {
        let trash = Self {
            versions: section.span("versions")?,
        };
        section.done()?;
        Ok(trash)
    }
}

impl Serve {
    fn take(mut section: Section<'_>) -> Result<Self, Error> {
        let serve = Self {
            listen: section.text("listen")?,
            tls_cert: section.text("tls_cert")?,
            tls_key: section.text("tls_key")?,
            trusted_proxy: section.text("trusted_proxy")?,
            public_renditions: section.flag("public_renditions")?,
            max_age: section.span("max_age")?,
            stale_while_revalidate: section.span("stale_while_revalidate")?,
            pull_through: section.flag("pull_through")?,
            max_cache: section.amount("max_cache")?,
        };
        section.done()?;
        Ok(serve)
    }
}

impl Network {
    fn take(mut section: Section<'_>) -> Result<Self, Error> {
        let network = Self {
            proxy: section.secret("proxy")?,
            ca_file: section.text("ca_file")?,
        };
        section.done()?;
        Ok(network)
    }
}

impl Peer {
    fn take(mut section: Section<'_>) -> Result<Self, Error> {
        let peer = Self {
            place: section.place(),
            name: section.text("name")?,
            base_url: section.text("base_url")?,
            cluster_id: section.text("cluster_id")?,
            key: section.secret("key")?,
            key_file: section.text("key_file")?,
            key_env: section.text("key_env")?,
            enabled: section.flag("enabled")?,
            pull_originals: section.flag("pull_originals")?,
            generated: section.text("generated")?,
            push: section.flag("push")?,
            push_originals: section.flag("push_originals")?,
            sidecar: section.flag("sidecar")?,
            insecure_session: section.flag("insecure_session")?,
            max_delete: section.amount("max_delete")?,
            ca_file: section.text("ca_file")?,
            include: section.texts("include")?,
            exclude: section.texts("exclude")?,
            categories: section.texts("categories")?,
            exclude_categories: section.texts("exclude_categories")?,
            collections: section.texts("collections")?,
            min_size: section.text("min_size")?,
            max_size: section.text("max_size")?,
            min_age: section.span("min_age")?,
            max_age: section.span("max_age")?,
            all_renditions: section.flag("all_renditions")?,
        };
        section.done()?;
        Ok(peer)
    }
}

impl Notify {
    fn take(mut section: Section<'_>) -> Result<Self, Error> {
        let notify = Self {
            ping: section.secret("ping")?,
            webhook: section.secret("webhook")?,
            command: section.text("command")?,
        };
        section.done()?;
        Ok(notify)
    }
}

impl Event {
    fn take(mut section: Section<'_>) -> Result<Self, Error> {
        let event = Self {
            place: section.place(),
            name: section.text("name")?,
            action: section.text("action")?,
            peer: section.text("peer")?,
            every: section.span("every")?,
            cron: section.text("cron")?,
            start: section.text("start")?,
            window: section.text("window")?,
            jitter: section.span("jitter")?,
            make_up: section.flag("make_up")?,
            max_transfer: section.amount("max_transfer")?,
            max_duration: section.span("max_duration")?,
            dir: section.text("dir")?,
            prefix: section.text("prefix")?,
            thumbs: section.flag("thumbs")?,
            ping: section.secret("ping")?,
            enabled: section.flag("enabled")?,
        };
        section.done()?;
        Ok(event)
    }
}

impl Preset {
    fn take(mut section: Section<'_>) -> Result<Self, Error> {
        let preset = Self {
            place: section.place(),
            id: section.text("id")?,
            inputs: section.texts("inputs")?,
            transcoder: section.text("transcoder")?,
            file_name: section.text("file_name")?,
            extension: section.text("extension")?,
            size: section.text("size")?,
            shape: section.text("shape")?,
            gravity: section.text("gravity")?,
            x: section.integer("x")?,
            y: section.integer("y")?,
            crop_size: section.text("crop_size")?,
            crop_last: section.flag("crop_last")?,
            rotate: section.integer("rotate")?,
            extent: section.text("extent")?,
            background: section.text("background")?,
            flatten: section.flag("flatten")?,
            quality: section.integer("quality")?,
            webp_method: section.integer("webp_method")?,
            sampling: section.text("sampling")?,
            dpi: section.integer("dpi")?,
            time_offset: section.amount("time_offset")?,
            colour_space: section.text("colour_space")?,
            watermark: section.flag("watermark")?,
            on_import: section.flag("on_import")?,
            display: section.flag("display")?,
            single_page: section.flag("single_page")?,
            ordering: section.integer("ordering")?,
            use_original: section.flag("use_original")?,
        };
        section.done()?;
        Ok(preset)
    }
}
