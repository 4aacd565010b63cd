//! Single settings outside of peers and events: what the page's form of limits sends, all of it in one exchange of the file.

use std::path::Path;

use toml_edit::Item;

use super::{change, document, line_after, with_value};
use crate::config::Error;
use crate::config::members::Member;

/// Changes settings by their keys, such as `limits.transfers`; one that is absent gets its default, and its line goes.
///
/// # Errors
/// [`Error::NotSettable`] where the file is written in another way; any error of [`Config::load`](crate::config::Config::load) that the
/// new values would cause. The file is then as it was.
pub fn change_settings(file: &Path, settings: &[(&'static str, Member)]) -> Result<(), Error> {
    change(file, |text| {
        let mut text = text.to_owned();
        for (key, member) in settings {
            text = with_setting(&text, file, key, member)?;
        }
        Ok(text)
    })
}

fn with_setting(text: &str, file: &Path, key: &str, member: &Member) -> Result<String, Error> {
    let not_settable = || Error::NotSettable {
        file: file.to_owned(),
        key: key.to_owned(),
    };
    let (section, name) = key.split_once('.').ok_or_else(not_settable)?;
    let doc = document(text, file)?;
    let top = doc.as_table();
    if let Some(new) = member.value() {
        return with_value(text, top, (section, name), new).ok_or_else(not_settable);
    }
    let table = top.get(section).and_then(Item::as_table);
    let Some(old) = table.and_then(|table| table.get(name)) else {
        let is_inline = table.is_none() && top.contains_key(section);
        return match is_inline {
            true => Err(not_settable()),
            false => Ok(text.to_owned()),
        };
    };
    let at = old.span().ok_or_else(not_settable)?;
    let start = text[..at.start].rfind('\n').map_or(0, |end| end + 1);
    Ok(format!(
        "{}{}",
        &text[..start],
        &text[line_after(text, at.end)..]
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Config;

    #[test]
    fn settings_come_change_and_go_and_a_wrong_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("emsync.toml");
        let text =
            "[node]\nname = \"a\"\ncluster_id = \"a-1\"\n[limits] # few\ntransfers = 4 # for now\n";
        fs::write(&file, text).unwrap();
        let settings = [
            ("limits.transfers", Member::Number(16)),
            ("limits.bwlimit", Member::text("08:00,1M 19:00,off")),
            ("media.thumb_threads", Member::Number(2)),
        ];
        change_settings(&file, &settings).unwrap();
        let config = Config::load(&file).unwrap();
        assert_eq!(
            (config.limits.transfers, config.media.thumb_threads),
            (16, 2)
        );
        let written = fs::read_to_string(&file).unwrap();
        assert!(written.contains("transfers = 16 # for now\n"), "{written}");
        let refused = change_settings(&file, &[("limits.transfers", Member::Number(0))]);
        assert!(refused.unwrap_err().report().contains("limits.transfers"));
        assert_eq!(fs::read_to_string(&file).unwrap(), written);
        let none = ["limits.transfers", "limits.bwlimit", "media.thumb_threads"];
        change_settings(&file, &none.map(|key| (key, Member::Absent))).unwrap();
        let gone = fs::read_to_string(&file).unwrap();
        let before = text.replace("transfers = 4 # for now\n", "");
        assert!(
            gone.starts_with(&before) && !gone.contains("bwlimit"),
            "{gone}"
        );
    }
}
