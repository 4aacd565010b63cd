//! What a peer asks for, held against what it was offered. A peer can name any file it likes; nothing but a file of the very page
//! that it answers is ever sent (H-18).

use std::collections::HashMap;

use super::Push;
use crate::catalogue::{Lane, NewJob};
use crate::model::job::{UploadJob, Work, upload_subject};
use crate::model::{FileKind, MediaFile, MediaPath};
use crate::protocol::receiving::{Wanted, WantedFile, kept_members};
use crate::protocol::wire_path;

/// Files that were offered, by name.
pub(super) type Offered = HashMap<(FileKind, MediaPath), Vec<MediaFile>>;

/// Makes jobs of the wishes for offered files; the others are told and forgotten.
///
/// `catalog` is where the peer keeps originals; it states itself where it keeps what is generated.
pub(super) fn jobs(
    push: &Push,
    wanted: &Wanted,
    offered: &Offered,
    catalog: Option<&str>,
) -> Vec<NewJob> {
    let peer = push.peer.name();
    let mut jobs = Vec::new();
    for wish in &wanted.files {
        match offered_file(wish, offered) {
            Ok(file) => jobs.push(job(peer, wish, file, catalog)),
            Err(why) => {
                let stated: String = wish.stated.chars().take(300).collect();
                tracing::warn!(peer, path = stated, why, "a wish is refused");
                push.monitor
                    .finding(&format!("{peer} asked for {stated:?}: {why}; not sent"));
            }
        }
    }
    jobs
}

fn offered_file<'a>(wish: &WantedFile, offered: &'a Offered) -> Result<&'a MediaFile, String> {
    let (kind, path) = wish.file.as_ref().map_err(ToString::to_string)?;
    let named = offered.get(&(*kind, path.clone()));
    let asset = wish.members.iter().find(|(name, _)| name == "asset");
    let files = named.map_or(&[][..], Vec::as_slice);
    let meant = match asset {
        Some((_, id)) => files.iter().find(|file| file.asset.as_str() == id),
        None => files.first(),
    };
    meant.ok_or_else(|| "it was not offered".to_owned())
}

fn job(peer: &str, wish: &WantedFile, file: &MediaFile, catalog: Option<&str>) -> NewJob {
    let savepath = match catalog {
        // The path is the sender's own, echoed (H-15).
        Some(catalog) => wire_path::in_catalog(catalog, file.kind, &file.path),
        None => wish.stated.clone(),
    };
    NewJob {
        peer: peer.to_owned(),
        subject: upload_subject(file.kind, file.path.as_str(), &file.asset),
        lane: Lane::Upload,
        asset: file.asset.clone(),
        size: file.size,
        work: Work::Upload(UploadJob {
            kind: file.kind,
            path: file.path.to_string(),
            sha256: file.sha256,
            savepath,
            members: kept_members(&wish.members),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AssetId, Sha256, Timestamp};
    use crate::protocol::receiving::parse_generated;

    fn file(path: &str, asset: &str) -> MediaFile {
        MediaFile {
            kind: FileKind::Generated,
            path: MediaPath::new(path).unwrap(),
            place: None,
            asset: AssetId::new(asset).unwrap(),
            size: 7,
            modified: Timestamp::EPOCH,
            sha256: Sha256::of(asset.as_bytes()),
            md5: None,
            authored: true,
            fingerprint: None,
        }
    }

    fn offered(files: &[MediaFile]) -> Offered {
        let mut offered = Offered::new();
        for file in files {
            let name = (file.kind, file.path.clone());
            offered.entry(name).or_default().push(file.clone());
        }
        offered
    }

    fn answers(entries: &str, files: &[MediaFile]) -> Vec<Result<String, String>> {
        let body = format!(r#"{{"catalogid":"finder/catalog","fileuploads":[{entries}]}}"#);
        let wanted = parse_generated(body.as_bytes()).unwrap();
        let offered = offered(files);
        let answers = wanted.files.iter();
        answers
            .map(|wish| offered_file(wish, &offered).map(|file| file.asset.to_string()))
            .collect()
    }

    #[test]
    fn only_what_was_offered_is_ever_sent() {
        let inside = "/WEB-INF/data/finder/catalog";
        let files = [file("a.jpg/s.webp", "A1")];
        for path in [
            "/etc/passwd".to_owned(),
            format!("{inside}/generated/b.jpg/s.webp"),
            format!("{inside}/originals/a.jpg/s.webp"),
            format!("{inside}/generated/../../../../etc/passwd"),
            format!("{inside}/generated/a.jpg/../a.jpg/s.webp"),
            "/WEB-INF/data/other/catalog/generated/a.jpg/s.webp".to_owned(),
            "/WEB-INF/node.xml".to_owned(),
            String::new(),
        ] {
            let entry = format!(r#"{{"localpath":{path:?}}}"#);
            let answers = answers(&entry, &files);
            assert!(answers[0].is_err(), "{path}: {answers:?}");
        }
        let entry = format!(r#"{{"localpath":"{inside}/generated/a.jpg/s.webp"}},{{}}"#);
        let answers = answers(&entry, &files);
        assert_eq!(answers[0], Ok("A1".to_owned()));
        assert!(answers[1].is_err());
    }

    #[test]
    fn of_two_files_of_one_name_the_one_that_is_meant_is_sent() {
        let files = [file("a.jpg/s.webp", "A1"), file("a.jpg/s.webp", "A2")];
        let path = "/WEB-INF/data/finder/catalog/generated/a.jpg/s.webp";
        let entry = |more: &str| format!(r#"{{"localpath":"{path}"{more}}}"#);
        let one = |more: &str| answers(&entry(more), &files).remove(0);
        assert_eq!(one(""), Ok("A1".to_owned()));
        assert_eq!(one(r#","asset":"A2""#), Ok("A2".to_owned()));
        assert!(one(r#","asset":"A3""#).is_err());
    }

    #[test]
    fn an_original_goes_into_the_catalog_of_the_peer() {
        let wish = WantedFile {
            stated: "/WEB-INF/data/own/catalog/originals/a.jpg".to_owned(),
            file: Ok((FileKind::Original, MediaPath::new("a.jpg").unwrap())),
            members: Vec::new(),
        };
        let mut original = file("a.jpg", "A1");
        original.kind = FileKind::Original;
        let job = job("m", &wish, &original, Some("finder/catalog"));
        let Work::Upload(upload) = &job.work else {
            panic!("{job:?}");
        };
        assert_eq!(
            upload.savepath,
            "/WEB-INF/data/finder/catalog/originals/a.jpg"
        );
        assert_eq!(
            (job.subject.as_str(), job.size),
            ("upload:originals/a.jpg//A1", 7)
        );
    }
}
