//! Names inside the braces of a key.

use std::borrow::Cow;

/// `{name}` as part of a key, so that all keys with it lie in one slot of a cluster.
///
/// A slot is computed from what stands between the first `{` and the next `}`, so braces inside the name would cut it
/// short, or leave nothing. They are written as `%7B` and `%7D`, and `%` as `%25`: different names stay different.
#[must_use]
pub fn hash_tag(name: &str) -> String {
    let mut escaped = Cow::Borrowed(name);
    for (character, code) in [('%', "%25"), ('{', "%7B"), ('}', "%7D")] {
        if escaped.contains(character) {
            escaped = Cow::Owned(escaped.replace(character, code));
        }
    }
    format!("{{{escaped}}}")
}

#[cfg(test)]
mod tests {
    use super::hash_tag;

    #[test]
    fn braces_of_a_name_do_not_end_its_tag() {
        assert_eq!(hash_tag("alice"), "{alice}");
        assert_eq!(hash_tag("urn:user:42"), "{urn:user:42}");
        assert_eq!(hash_tag("}{a}%7D"), "{%7D%7Ba%7D%257D}");
    }
}
