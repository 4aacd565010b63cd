//! `application/x-www-form-urlencoded`, both ways, as `java.net.URLEncoder` does it: a space is `+`, a plus is `%2B`.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'*')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b' ');

/// Adds one field to a form.
pub(super) fn push(form: &mut String, name: &str, value: &str) {
    if !form.is_empty() {
        form.push('&');
    }
    form.push_str(name);
    form.push('=');
    for piece in utf8_percent_encode(value, ESCAPED) {
        form.push_str(&piece.replace(' ', "+"));
    }
}

/// The first field of that name. Bytes that are not UTF-8 are replaced, so that they never equal anything.
pub(super) fn field<'a>(form: &'a str, name: &str) -> Option<Cow<'a, str>> {
    form.trim().split('&').find_map(|pair| {
        let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(found) == name).then(|| decode(value))
    })
}

/// The members of a JSON object as a form, where they are text, numbers or truth values; EMDB takes its parameters from such a body
/// as well (wire spec 3.1). `None` for anything but an object.
pub fn of_json(body: &[u8]) -> Option<String> {
    let Ok(serde_json::Value::Object(members)) = serde_json::from_slice(body) else {
        return None;
    };
    let mut form = String::new();
    for (name, member) in &members {
        match member {
            serde_json::Value::String(text) => push(&mut form, name, text),
            serde_json::Value::Number(_) | serde_json::Value::Bool(_) => {
                push(&mut form, name, &member.to_string());
            }
            _ => {}
        }
    }
    Some(form)
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['+', '%']) {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8_lossy();
    Cow::Owned(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fields_come_back_as_they_went_in(first in "\\PC{0,30}", second in "[ +%&=/é\u{0}-\u{7f}]{0,30}") {
            let mut form = String::new();
            push(&mut form, "a", &first);
            push(&mut form, "entermedia.key", &second);
            prop_assert_eq!(field(&form, "a").unwrap(), first);
            prop_assert_eq!(field(&form, "entermedia.key").unwrap(), second);
            prop_assert_eq!(field(&form, "b"), None);
        }
    }
}
