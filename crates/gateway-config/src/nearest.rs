//! The known word nearest to an unknown one, for messages.

/// The number of single-character changes (insert, delete, replace, swap of neighbours) between two words: the
/// optimal string alignment distance.
pub(crate) fn distance(left: &str, right: &str) -> usize {
    // Names are short; what is not is cut, so that a hostile file cannot make this expensive.
    let left: Vec<char> = left.chars().take(64).collect();
    let right: Vec<char> = right.chars().take(64).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, r) in right.iter().enumerate() {
            let replaced = last[j] + usize::from(l != r);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *l == right[j - 1] && left[i - 1] == *r {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[right.len()]
}

/// The candidate nearest to `word`, the first of equals.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .min_by_key(|candidate| distance(word, candidate))
}

/// The known path nearest to the unknown `key` of `section` (empty for the top): a key of that section that is
/// misspelt, else the same key elsewhere, else whatever in the section comes nearest.
pub(crate) fn nearest_path<'a>(section: &str, key: &str, known: &'a [String]) -> Option<&'a str> {
    let split = |path: &'a str| path.rsplit_once('.').unwrap_or(("", path));
    let sibling = known
        .iter()
        .map(String::as_str)
        .filter(|path| split(path).0 == section)
        .min_by_key(|path| distance(key, split(path).1));
    if let Some(path) = sibling
        && distance(key, split(path).1) <= 1 + key.len() / 4
    {
        return Some(path);
    }
    let elsewhere = known.iter().map(String::as_str).find(|path| split(path).1 == key);
    elsewhere
        .or(sibling)
        .or_else(|| nearest(key, known.iter().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_a_slip_and_a_missing_letter_each_count_one() {
        for (left, right, expected) in [
            ("port", "port", 0),
            ("prot", "port", 1),
            ("port", "part", 1),
            ("prt", "port", 1),
            ("", "abc", 3),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn a_misspelt_key_leads_to_its_sibling_and_a_misplaced_one_to_its_section() {
        let known: Vec<String> = ["server", "server.http_port", "auth", "auth.jwt_secret"]
            .map(str::to_owned)
            .into();
        assert_eq!(
            nearest_path("server", "htp_port", &known),
            Some("server.http_port")
        );
        assert_eq!(
            nearest_path("server", "jwt_secret", &known),
            Some("auth.jwt_secret")
        );
        assert_eq!(nearest_path("", "sever", &known), Some("server"));
        assert_eq!(nearest_path("server", "zzz", &known), Some("server.http_port"));
    }
}
