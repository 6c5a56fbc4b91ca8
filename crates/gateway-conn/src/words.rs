//! Several texts in one value of Redis, with a space between them.
//!
//! Ids may hold spaces, so a space inside a text is written as `%20`, and `%` as `%25`. Scripts undo that where they hand a
//! text on.

/// The texts as one.
pub(crate) fn join(texts: &[&str]) -> String {
    let mut joined = String::with_capacity(texts.iter().map(|text| text.len() + 1).sum());
    for (position, text) in texts.iter().enumerate() {
        if position > 0 {
            joined.push(' ');
        }
        for character in text.chars() {
            match character {
                ' ' => joined.push_str("%20"),
                '%' => joined.push_str("%25"),
                other => joined.push(other),
            }
        }
    }
    joined
}

/// The texts that [`join`] made one of.
pub(crate) fn split(joined: &str) -> impl Iterator<Item = String> {
    joined
        .split(' ')
        .map(|text| text.replace("%20", " ").replace("%25", "%"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_joined_is_split_again(texts in prop::collection::vec("[ %0-9a-z用:{}]{0,8}", 1..5)) {
            let parts: Vec<&str> = texts.iter().map(String::as_str).collect();
            prop_assert_eq!(split(&join(&parts)).collect::<Vec<_>>(), texts);
        }
    }
}
