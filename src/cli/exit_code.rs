//! Every exit code, and which failure has which (design section 5).

use super::output;
use crate::error::Class;
use crate::promote;
use crate::reconcile::{deletes, verify};
use crate::renditions::{self, cropping::CropError};
use crate::{
    catalogue, config, crash, greeting, import, node, peer, pipeline, pull, push, restore,
    schedule, scrub, serve, store, trash,
};

/// How the program ended, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Everything was done.
    Ok = 0,
    /// Something else went wrong.
    Other = 1,
    /// The command line or the configuration is wrong; a retry cannot help.
    Usage = 2,
    /// A temporary failure; a retry may help.
    Temporary = 5,
    /// Schema, clock or media root: a person has to look.
    Fatal = 7,
    /// As many bytes as `--max-transfer` allows have come.
    TransferLimit = 8,
    /// As much time as `--max-duration` allows has passed.
    TimeLimit = 10,
    /// The same activity is already running.
    Running = 11,
    /// The peer refused our key.
    KeyRefused = 12,
    /// Done, but for items that were set aside.
    Partial = 23,
    /// The delete guard held deletes back.
    Guard = 25,
    /// Two nodes differ.
    Differs = 26,
    /// Interrupted by a signal.
    Interrupted = 130,
}

impl ExitCode {
    /// The code of an error: the first cause in its chain that has one of its own.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        error.chain().find_map(own_code).unwrap_or(Self::Other)
    }
}

fn own_code(cause: &(dyn std::error::Error + 'static)) -> Option<ExitCode> {
    if cause.is::<config::Error>() || cause.is::<super::Usage>() || cause.is::<crash::Error>() {
        return Some(ExitCode::Usage);
    }
    if let Some(output::Error::ReaderGone) = cause.downcast_ref() {
        return Some(ExitCode::Ok);
    }
    if let Some(error) = cause.downcast_ref::<verify::kept::KeptError>() {
        return Some(super::verify::code_of_report(error));
    }
    if let Some(error) = cause.downcast_ref::<node::rebuild::RebuildError>() {
        return of_rebuild(error);
    }
    if let Some(error) = cause.downcast_ref::<node::backup::BackupError>() {
        return of_backup(error);
    }
    if let Some(error) = cause.downcast_ref::<peer::Error>() {
        return Some(of_peer(error));
    }
    if let Some(error) = cause.downcast_ref::<pull::Error>() {
        return of_pull(error);
    }
    if let Some(error) = cause.downcast_ref::<push::Error>() {
        return Some(of_push(error));
    }
    if let Some(error) = cause.downcast_ref::<store::Error>() {
        return Some(of_store(error));
    }
    if let Some(error) = cause.downcast_ref::<catalogue::Error>() {
        return Some(of_catalogue(error));
    }
    if let Some(error) = cause.downcast_ref::<node::Error>() {
        return of_node(error);
    }
    if let Some(error) = cause.downcast_ref::<promote::Error>() {
        return match error {
            promote::Error::Catalogue(error) => Some(of_catalogue(error)),
            promote::Error::NoClusterId { .. } | promote::Error::Sidecar { .. } => {
                Some(ExitCode::Usage)
            }
            promote::Error::Cancelled => Some(ExitCode::Interrupted),
        };
    }
    if let Some(error) = cause.downcast_ref::<pipeline::Error>() {
        return of_pipeline(error);
    }
    if let Some(error) = cause.downcast_ref::<verify::Error>() {
        return Some(of_verify(error));
    }
    if let Some(error) = cause.downcast_ref::<deletes::Error>() {
        return Some(of_deletes(error));
    }
    if let Some(error) = cause.downcast_ref::<import::Error>() {
        return of_import(error);
    }
    if let Some(error) = cause.downcast_ref::<renditions::Error>() {
        return of_renditions(error);
    }
    if let Some(error) = cause.downcast_ref::<scrub::Error>() {
        return of_scrub(error);
    }
    if let Some(error) = cause.downcast_ref::<restore::Error>() {
        return of_restore(error);
    }
    if let Some(error) = cause.downcast_ref::<CropError>() {
        return of_crop(error);
    }
    if let Some(import::watch::WatchError::Import(error)) = cause.downcast_ref() {
        return of_import(error);
    }
    if let Some(import::watch::WatchError::Node(error)) = cause.downcast_ref() {
        return of_node(error);
    }
    if let Some(error) = cause.downcast_ref::<trash::Error>() {
        return Some(of_trash(error));
    }
    if cause.is::<serve::TlsError>() {
        return Some(ExitCode::Usage);
    }
    if let Some(error) = cause.downcast_ref::<schedule::Error>() {
        return of_schedule(error);
    }
    cause
        .downcast_ref::<serve::Error>()
        .map(|error| of_class(error.class()))
}

fn of_schedule(error: &schedule::Error) -> Option<ExitCode> {
    match error {
        schedule::Error::Config(_) => Some(ExitCode::Usage),
        schedule::Error::Running { .. } => Some(ExitCode::Running),
        schedule::Error::Held { .. } => Some(ExitCode::Temporary),
        schedule::Error::Ending => Some(ExitCode::Interrupted),
        schedule::Error::Catalogue(error) => Some(of_catalogue(error)),
    }
}

fn of_restore(error: &restore::Error) -> Option<ExitCode> {
    match error {
        restore::Error::Catalogue(error) => Some(of_catalogue(error)),
        restore::Error::Store(error) => Some(of_store(error)),
        restore::Error::Trash(error) => Some(of_trash(error)),
        restore::Error::Node(error) => of_node(error),
        restore::Error::Deletes(error) => Some(of_deletes(error)),
        restore::Error::Renditions(error) => of_renditions(error),
        restore::Error::NoAsset { .. } => None,
        restore::Error::Worker | restore::Error::Reached(_) => Some(of_class(error.class())),
    }
}

fn of_scrub(error: &scrub::Error) -> Option<ExitCode> {
    match error {
        scrub::Error::Catalogue(error) => Some(of_catalogue(error)),
        scrub::Error::Store(error) => Some(of_store(error)),
        scrub::Error::Node(error) => of_node(error),
        scrub::Error::Fetch(error) => of_pipeline(error),
        scrub::Error::Renditions(error) => of_renditions(error),
        scrub::Error::Worker => Some(of_class(error.class())),
    }
}

fn of_class(class: Class) -> ExitCode {
    match class {
        Class::Transient => ExitCode::Temporary,
        Class::Permanent | Class::Corrupt => ExitCode::Other,
        Class::Cancelled => ExitCode::Interrupted,
    }
}

/// The code of a failed request; `peer test` prints the same ones (design section 8, Failures and exit codes).
#[must_use]
pub fn of_peer(error: &peer::Error) -> ExitCode {
    match error {
        peer::Error::Refused { .. } | peer::Error::ReadOnly { .. } | peer::Error::Login { .. } => {
            ExitCode::KeyRefused
        }
        peer::Error::WrongPath { .. }
        | peer::Error::Moved { .. }
        | peer::Error::Key { .. }
        | peer::Error::Proxy { .. } => ExitCode::Usage,
        other => of_class(other.class()),
    }
}

fn of_pull(error: &pull::Error) -> Option<ExitCode> {
    Some(match error {
        pull::Error::Peer(error) => of_peer(error),
        pull::Error::Store(error) => of_store(error),
        pull::Error::Catalogue(error) => of_catalogue(error),
        pull::Error::Greeting(error) => of_greeting(error),
        pull::Error::Blind { .. } | pull::Error::UnknownNames { .. } => ExitCode::Usage,
        pull::Error::Reserve { .. } | pull::Error::Paused { .. } => ExitCode::Temporary,
        pull::Error::TransferLimit { .. } => ExitCode::TransferLimit,
        pull::Error::TimeLimit { .. } => ExitCode::TimeLimit,
        other => of_class(other.class()),
    })
}

fn of_push(error: &push::Error) -> ExitCode {
    match error {
        push::Error::Peer(error) => of_peer(error),
        push::Error::Store(error) => of_store(error),
        push::Error::Catalogue(error) => of_catalogue(error),
        push::Error::Greeting(error) => of_greeting(error),
        other => of_class(other.class()),
    }
}

fn of_greeting(error: &greeting::Error) -> ExitCode {
    match error {
        greeting::Error::Skew { .. } => ExitCode::Fatal,
        greeting::Error::Catalogue(error) => of_catalogue(error),
        _ => ExitCode::Usage,
    }
}

fn of_store(error: &store::Error) -> ExitCode {
    match error {
        store::Error::NoMarker { .. } | store::Error::WrongMarker { .. } => ExitCode::Fatal,
        other => of_class(other.class()),
    }
}

fn of_catalogue(error: &catalogue::Error) -> ExitCode {
    match error {
        catalogue::Error::Schema { .. }
        | catalogue::Error::Damaged { .. }
        | catalogue::Error::Corrupt { .. } => ExitCode::Fatal,
        other => of_class(other.class()),
    }
}

fn of_verify(error: &verify::Error) -> ExitCode {
    match error {
        verify::Error::Peer(error) => of_peer(error),
        verify::Error::Store(error) => of_store(error),
        verify::Error::Catalogue(error) => of_catalogue(error),
        verify::Error::Blind { .. } => ExitCode::Usage,
        other => of_class(other.class()),
    }
}

fn of_deletes(error: &deletes::Error) -> ExitCode {
    match error {
        deletes::Error::Store(error) => of_store(error),
        deletes::Error::Catalogue(error) => of_catalogue(error),
        other => of_class(other.class()),
    }
}

fn of_trash(error: &trash::Error) -> ExitCode {
    match error {
        trash::Error::Store(error) => of_store(error),
        trash::Error::Catalogue(error) => of_catalogue(error),
        other => of_class(other.class()),
    }
}

/// `None` where the cause below says more.
fn of_import(error: &import::Error) -> Option<ExitCode> {
    match error {
        import::Error::Folder { .. }
        | import::Error::Empty { .. }
        | import::Error::Overlaps { .. }
        | import::Error::NotUtf8 { .. }
        | import::Error::OtherPrefix { .. }
        | import::Error::OfTheSidecar { .. } => Some(ExitCode::Usage),
        other => Some(of_class(other.class())).filter(|code| *code != ExitCode::Other),
    }
}

/// `None` where the cause below says more.
fn of_renditions(error: &renditions::Error) -> Option<ExitCode> {
    match error {
        renditions::Error::NoCategory { .. } | renditions::Error::NoAsset { .. } => {
            Some(ExitCode::Usage)
        }
        other => Some(of_class(other.class())).filter(|code| *code != ExitCode::Other),
    }
}

fn of_crop(error: &CropError) -> Option<ExitCode> {
    match error {
        CropError::Renditions(error) => of_renditions(error),
        CropError::Unreadable { source, .. } => Some(of_class(source.class())),
        CropError::NoPreset { .. } | CropError::Outside { .. } | CropError::OfTheSidecar { .. } => {
            Some(ExitCode::Usage)
        }
        _ => Some(ExitCode::Other),
    }
}

fn of_node(error: &node::Error) -> Option<ExitCode> {
    Some(match error {
        node::Error::Busy { .. } => ExitCode::Running,
        node::Error::Unsaved { .. } => ExitCode::Fatal,
        node::Error::Store(error) => of_store(error),
        node::Error::Catalogue(error) => of_catalogue(error),
        other => of_class(other.class()),
    })
}

fn of_rebuild(error: &node::rebuild::RebuildError) -> Option<ExitCode> {
    use node::rebuild::RebuildError;
    match error {
        RebuildError::Node(error) => of_node(error),
        RebuildError::Verify(error) => Some(of_verify(error)),
        RebuildError::Snapshot { .. } => Some(ExitCode::Usage),
        RebuildError::File { .. } => Some(ExitCode::Other),
    }
}

fn of_backup(error: &node::backup::BackupError) -> Option<ExitCode> {
    use node::backup::BackupError;
    match error {
        BackupError::Catalogue(error) => Some(of_catalogue(error)),
        BackupError::Exists { .. } => Some(ExitCode::Usage),
        BackupError::Unsound { .. } => Some(ExitCode::Fatal),
        BackupError::Cancelled => Some(ExitCode::Interrupted),
        BackupError::Write { .. } => Some(ExitCode::Other),
    }
}

fn of_pipeline(error: &pipeline::Error) -> Option<ExitCode> {
    match error {
        pipeline::Error::Pull(error) => of_pull(error),
        pipeline::Error::Push(error) => Some(of_push(error)),
        pipeline::Error::Config(_) => Some(ExitCode::Usage),
        pipeline::Error::Node(error) => of_node(error),
        pipeline::Error::Verify(error) => Some(of_verify(error)),
        pipeline::Error::Deletes(error) => Some(of_deletes(error)),
        other => Some(of_class(other.class())),
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cause_with_a_code_of_its_own_decides() {
        let refused = peer::Error::Refused {
            peer: "m".to_owned(),
            detail: "HTTP 302".to_owned(),
        };
        let error = anyhow::Error::new(pipeline::Error::from(refused)).context("seed master");
        assert_eq!(ExitCode::of(&error), ExitCode::KeyRefused);
        let skew = greeting::Error::Skew {
            peer: "m".to_owned(),
            skew_s: 3_600,
            limit_s: 900,
        };
        assert_eq!(
            ExitCode::of(&anyhow::Error::new(pipeline::Error::from(
                pull::Error::from(skew)
            ))),
            ExitCode::Fatal
        );
        assert_eq!(ExitCode::of(&anyhow::anyhow!("odd")), ExitCode::Other);
    }

    #[test]
    fn a_cause_has_its_code_whichever_stage_met_it() {
        let refused = || peer::Error::Refused {
            peer: "m".to_owned(),
            detail: "HTTP 302".to_owned(),
        };
        let no_marker = || store::Error::NoMarker {
            root: "media".into(),
        };
        let code = |error: pipeline::Error| ExitCode::of(&anyhow::Error::new(error));
        assert_eq!(
            code(verify::Error::Peer(refused()).into()),
            ExitCode::KeyRefused
        );
        assert_eq!(
            code(verify::Error::Store(no_marker()).into()),
            ExitCode::Fatal
        );
        assert_eq!(
            code(deletes::Error::Store(no_marker()).into()),
            ExitCode::Fatal
        );
    }
}
