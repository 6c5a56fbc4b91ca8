//! How long Rust files may be: none over 800 lines; of what is not test code, a median of at most 150 and a
//! 95th percentile of at most 450. The models that the project follows measure 91–136 and 310–450.

use super::Source;

const LONGEST: usize = 800;
const MEDIAN: usize = 150;
const PERCENTILE_95: usize = 450;

/// One complaint a file that is too long, one for each of the two figures.
pub(super) fn check(sources: &[Source]) -> Vec<String> {
    let rust = || {
        sources
            .iter()
            .filter(|source| source.is_rust() && !source.is_generated())
    };
    let mut complaints: Vec<String> = rust()
        .map(|source| (source, source.text.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST)
        .map(|(source, lines)| format!("{}: {lines} lines, over {LONGEST}", source.path.display()))
        .collect();
    let mut lengths: Vec<usize> = rust()
        .filter(|source| !source.is_test())
        .map(|source| without_tests(&source.text))
        .collect();
    lengths.sort_unstable();
    for (name, share, most) in [("median", 50, MEDIAN), ("95th percentile", 95, PERCENTILE_95)] {
        let found = percentile(&lengths, share);
        println!(
            "tidy: {name} of {} Rust files: {found} lines (at most {most})",
            lengths.len()
        );
        if found > most {
            complaints.push(format!("{name} of the Rust files' lines is {found}, over {most}"));
        }
    }
    complaints
}

/// Lines before a test module that closes the file.
fn without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let module = |at: &usize| {
        lines
            .get(*at)
            .is_some_and(|line| line.starts_with("#[cfg(test)]"))
            && lines
                .iter()
                .skip(at + 1)
                .find(|line| !line.starts_with('#'))
                .is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
    };
    (0..lines.len()).find(module).unwrap_or(lines.len())
}

/// Nearest rank; 0 where there is nothing.
fn percentile(sorted: &[usize], share: usize) -> usize {
    let rank = (sorted.len() * share).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, lines: usize) -> Source {
        Source {
            path: path.into(),
            text: "x\n".repeat(lines),
        }
    }

    #[test]
    fn a_file_over_the_limit_is_named() {
        let complaints = check(&[file("src/long.rs", 801), file("src/a.rs", 1), file("src/b.rs", 1)]);
        assert!(
            complaints.iter().any(|told| told.starts_with("src/long.rs: 801")),
            "{complaints:?}"
        );
    }

    #[test]
    fn generated_and_other_files_do_not_count() {
        assert_eq!(
            check(&[file("src/generated/im.rs", 5_000), file("docs/long.md", 5_000)]),
            [""; 0]
        );
    }

    #[test]
    fn a_closing_test_module_does_not_count() {
        assert_eq!(
            without_tests("a\nb\n#[cfg(test)]\n#[expect(x)]\nmod tests {\n}\n"),
            2
        );
        assert_eq!(without_tests("#[cfg(test)]\nmod tests;\na\n"), 3);
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        assert_eq!(percentile(&[1, 2, 3, 4], 50), 2);
        assert_eq!(percentile(&[1, 2, 3, 4], 95), 4);
        assert_eq!(percentile(&[], 50), 0);
    }
}
