//! What files are called, and what they must not say: paths of the machine that they were written on.

use std::path::Path;

use super::Source;

/// Names that say nothing about what is inside.
const EMPTY_WORDS: [&str; 6] = ["util", "utils", "common", "helper", "helpers", "misc"];
/// Home folders anywhere; split so that this file does not contain what it looks for.
const HOMES: [&str; 2] = [concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// Complaints about names and contents of all files.
pub(super) fn check(root: &Path, sources: &[Source]) -> Vec<String> {
    let paths = machine_paths(root);
    let mut complaints = Vec::new();
    for source in sources {
        let shown = source.path.display();
        if source.is_rust() && !source.is_generated() {
            if source.path.file_name().is_some_and(|name| name == "mod.rs") {
                complaints.push(format!("{shown}: write `foo.rs` beside `foo/`, no mod.rs"));
            }
            if source
                .path
                .file_stem()
                .is_some_and(|stem| EMPTY_WORDS.iter().any(|word| stem == *word))
            {
                complaints.push(format!("{shown}: a name that says nothing about what is inside"));
            }
        }
        for (number, line) in source.text.lines().enumerate() {
            if paths.iter().any(|path| line.contains(path.as_str())) {
                complaints.push(format!("{shown}:{}: a path of one machine", number + 1));
            }
        }
    }
    complaints
}

/// This machine's own folders, and home folders in general.
fn machine_paths(root: &Path) -> Vec<String> {
    let own = ["HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR"]
        .into_iter()
        .filter_map(std::env::var_os);
    own.map(|path| path.to_string_lossy().into_owned())
        .chain([root.to_string_lossy().into_owned()])
        // A folder right below the root, such as /app, may be named for other reasons; with a slash it is a path.
        .map(|path| format!("{}/", path.trim_end_matches('/')))
        .filter(|path| path.len() > 2)
        .chain(HOMES.map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> Vec<String> {
        check(
            Path::new("/somewhere/clone"),
            &[Source {
                path: path.into(),
                text: text.to_owned(),
            }],
        )
    }

    #[test]
    fn names_that_say_nothing_are_refused() {
        assert_eq!(complaints("src/session/utils.rs", "").len(), 1);
        assert_eq!(complaints("src/session/mod.rs", "").len(), 1);
        assert_eq!(complaints("src/session/binding.rs", ""), [""; 0]);
    }

    #[test]
    fn a_machine_path_is_told_with_its_line() {
        let told = complaints("docs/start.md", "first\ncd /somewhere/clone/docs\n");
        assert_eq!(told, ["docs/start.md:2: a path of one machine"]);
    }
}
