//! The figures, and what may differ between those recorded and those measured.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};

/// How much more than recorded is a regression, and how much less is worth recording, in percent.
const TOLERATED: u64 = 5;

/// Instructions by benchmark, sorted by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Figures(BTreeMap<String, u64>);

impl Figures {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)?;
        Ok(Self(serde_json::from_str(&text)?))
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.0)?;
        std::fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// False where there is one of that name already.
    pub(super) fn add(&mut self, name: String, instructions: u64) -> bool {
        self.0.insert(name, instructions).is_none()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Same,
    Better,
    Worse,
    NotRecorded,
    NotMeasured,
}

impl Verdict {
    fn of(recorded: Option<u64>, measured: Option<u64>) -> Self {
        match (recorded, measured) {
            (None, _) => Self::NotRecorded,
            (_, None) => Self::NotMeasured,
            (Some(recorded), Some(measured)) => {
                let (recorded, measured) = (u128::from(recorded), u128::from(measured));
                if measured * 100 > recorded * u128::from(100 + TOLERATED) {
                    Self::Worse
                } else if measured * 100 < recorded * u128::from(100 - TOLERATED) {
                    Self::Better
                } else {
                    Self::Same
                }
            }
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Same => "",
            Self::Better => "better",
            Self::Worse => "WORSE",
            Self::NotRecorded => "NOT RECORDED",
            Self::NotMeasured => "NOT MEASURED",
        }
    }

    fn fails(self) -> bool {
        match self {
            Self::Same | Self::Better => false,
            Self::Worse | Self::NotRecorded | Self::NotMeasured => true,
        }
    }
}

struct Row<'a> {
    name: &'a str,
    recorded: Option<u64>,
    measured: Option<u64>,
    verdict: Verdict,
}

/// One row a benchmark, of both sides. Shown as a table.
pub(super) struct Comparison<'a> {
    rows: Vec<Row<'a>>,
}

impl<'a> Comparison<'a> {
    pub(super) fn of(recorded: &'a Figures, measured: &'a Figures) -> Self {
        let names: BTreeSet<&String> = recorded.0.keys().chain(measured.0.keys()).collect();
        let row = |name: &'a String| {
            let (recorded, measured) = (recorded.0.get(name).copied(), measured.0.get(name).copied());
            let verdict = Verdict::of(recorded, measured);
            Row {
                name,
                recorded,
                measured,
                verdict,
            }
        };
        Self {
            rows: names.into_iter().map(row).collect(),
        }
    }

    pub(super) fn fails(&self) -> bool {
        self.rows.iter().any(|row| row.verdict.fails())
    }

    pub(super) fn has_better(&self) -> bool {
        self.rows.iter().any(|row| row.verdict == Verdict::Better)
    }
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
        write!(
            f,
            "{:width$}  {:>10}  {:>10}  {:>9}",
            "", "recorded", "measured", "change"
        )?;
        for row in &self.rows {
            let shown =
                |figure: Option<u64>| figure.map_or_else(|| "-".to_owned(), |figure| figure.to_string());
            let change = match (row.recorded, row.measured) {
                (Some(recorded @ 1..), Some(measured)) => {
                    format!("{:+.2} %", (measured as f64 / recorded as f64 - 1.0) * 100.0)
                }
                _ => "-".to_owned(),
            };
            let (recorded, measured) = (shown(row.recorded), shown(row.measured));
            let line = format!("{:width$}  {recorded:>10}  {measured:>10}  {change:>9}", row.name);
            write!(f, "\n{}", format!("{line}  {}", row.verdict.text()).trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
