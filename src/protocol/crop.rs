//! Rows of EMDB's table `assetcrop`: a user's rectangle for an asset and a preset (media spec 4.3).

use serde_json::{Map, Value};

use super::lenient;
use super::record::{BadRecord, members};
use crate::model::preset::PresetId;
use crate::model::{AssetId, Crop, Record, Sha256};

/// The table.
pub const TABLE: &str = "assetcrop";
/// The member that names the asset.
pub const ASSET: &str = "assetid";
/// Our own member beside EMDB's: the SHA-256 of the original that the rectangle was drawn on. EMDB keeps it and passes it on.
const DRAWN_ON: &str = "emsyncoriginal";

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetCrop {
    /// Whose picture.
    pub asset: AssetId,
    /// For which preset.
    pub preset: PresetId,
    /// The rectangle.
    pub crop: Crop,
    /// The original it was drawn on, where the row says so.
    pub drawn_on: Option<Sha256>,
}

/// Reads a row.
///
/// # Errors
/// [`BadRecord`] when a member that makes a rectangle is missing or is no number, or when it has no area.
pub fn read(record: &Record) -> Result<AssetCrop, BadRecord> {
    let bad = |reason: String| BadRecord {
        key: Some(record.key.clone()),
        module: record.key.module.to_string(),
        id: record.key.id.clone(),
        reason,
        source: String::new(),
    };
    let members = members(record)?;
    let text = |name: &str| {
        let text = members.get(name).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
            .ok_or_else(|| bad(format!("has no {name}")))
    };
    // The editor posts fractions, and EMDB cuts them off when it crops (media spec 4.2).
    let number = |name: &str| {
        let member = members.get(name);
        let whole = member.and_then(|member| lenient::to_i64(member).or_else(|| cut(member)));
        whole.ok_or_else(|| bad(format!("has no number {name}")))
    };
    let side = |name: &str| {
        let side = u32::try_from(number(name)?).ok().filter(|side| *side > 0);
        side.ok_or_else(|| bad(format!("has a {name} that is no side of a rectangle")))
    };
    Ok(AssetCrop {
        asset: AssetId::new(text(ASSET)?).map_err(|error| bad(error.to_string()))?,
        preset: PresetId::new(text("presetid")?),
        crop: Crop {
            x: number("cropx")?,
            y: number("cropy")?,
            width: side("cropwidth")?,
            height: side("cropheight")?,
        },
        drawn_on: text(DRAWN_ON).ok().and_then(|hex| Sha256::parse(hex).ok()),
    })
}

/// A fraction without its places.
fn cut(value: &Value) -> Option<i64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse::<f64>().ok()?,
        _ => return None,
    };
    // Beyond this no picture has a pixel.
    (number.abs() < 1e9).then(|| number.trunc() as i64)
}

/// Writes a row's members into those that stand there already.
pub fn write(row: &AssetCrop, to: &mut Map<String, Value>) {
    let Crop {
        x,
        y,
        width,
        height,
    } = row.crop;
    let mut set = |name: &str, value: Value| {
        to.insert(name.to_owned(), value);
    };
    set(ASSET, row.asset.as_str().into());
    set("presetid", row.preset.as_str().into());
    set("cropx", x.into());
    set("cropy", y.into());
    set("cropwidth", width.into());
    set("cropheight", height.into());
    match row.drawn_on {
        Some(original) => set(DRAWN_ON, original.to_string().into()),
        None => {
            to.remove(DRAWN_ON);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RecordKey;
    use serde_json::json;

    fn record(source: &Value) -> Record {
        Record {
            key: RecordKey::new(TABLE, "c1").unwrap(),
            source: source.to_string(),
            status: None,
            content: Sha256::of(b""),
        }
    }

    #[test]
    fn a_row_comes_back_as_it_was_written_and_keeps_what_else_it_had() {
        let row = AssetCrop {
            asset: AssetId::new("a1").unwrap(),
            preset: PresetId::new("webpthumbimage"),
            crop: Crop {
                x: -4,
                y: 7,
                width: 200,
                height: 100,
            },
            drawn_on: Some(Sha256::of(b"original")),
        };
        let mut members = Map::new();
        members.insert("userid".to_owned(), json!("jane"));
        write(&row, &mut members);
        assert_eq!(members["userid"], "jane");
        assert_eq!(read(&record(&members.into())).unwrap(), row);
    }

    #[test]
    fn numbers_may_be_texts_and_fractions_are_cut_off() {
        let row = json!({
            "assetid": "a1", "presetid": "p", "cropx": "-1.9", "cropy": 2.9, "cropwidth": "30", "cropheight": 40.5,
        });
        let read = read(&record(&row)).unwrap();
        let expected = Crop {
            x: -1,
            y: 2,
            width: 30,
            height: 40,
        };
        assert_eq!((read.crop, read.drawn_on), (expected, None));
    }

    #[test]
    fn what_is_no_rectangle_is_refused_with_its_reason() {
        let whole = json!({
            "assetid": "a1", "presetid": "p", "cropx": 0, "cropy": 0, "cropwidth": 30, "cropheight": 40,
        });
        for (member, value, reason) in [
            ("assetid", json!(""), "has no assetid"),
            ("presetid", Value::Null, "has no presetid"),
            ("cropx", json!("left"), "has no number cropx"),
            ("cropy", json!(1e300), "has no number cropy"),
            ("cropwidth", json!(0), "has a cropwidth that is no side"),
            ("cropheight", json!(-3), "has a cropheight that is no side"),
        ] {
            let mut row = whole.clone();
            row[member] = value;
            let error = read(&record(&row)).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
