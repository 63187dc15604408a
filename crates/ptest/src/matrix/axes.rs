//! The axes of a matrix, and the cells that come of them.
//!
//! Pure: nothing here looks at the machine.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, ErrorKind, Result};

/// Requirements under a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequirementSet {
    /// The name, which is part of the names of cells.
    pub name: String,
    /// Requirement specifiers.
    pub requirements: Vec<String>,
}

/// What is varied. An axis without a value varies nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Axes {
    /// Interpreters, as they are asked for.
    pub pythons: Vec<String>,
    /// Sets of requirements.
    pub sets: Vec<RequirementSet>,
    /// Variables and the values of each, in order.
    pub variables: Vec<(String, Vec<String>)>,
    /// Cells that there are not: those that have all of one of these.
    pub exclude: Vec<Point>,
    /// Cells that there are besides.
    pub include: Vec<Point>,
}

/// Some coordinates: what is not said is anything (`exclude`), or nothing (`include`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// An interpreter.
    pub python: Option<String>,
    /// The name of a set.
    pub set: Option<String>,
    /// Variables.
    pub variables: BTreeMap<String, String>,
}

/// One combination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// What it is called: its coordinates, with `-` between them. Empty where nothing is varied.
    pub name: String,
    /// The interpreter, as it is asked for.
    pub python: Option<String>,
    /// The set of requirements.
    pub set: Option<RequirementSet>,
    /// The variables.
    pub variables: BTreeMap<String, String>,
}

impl Axes {
    /// Whether there is nothing to vary.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Every cell: the first axis is the slowest, what is included comes last.
    ///
    /// # Errors
    ///
    /// When an exclusion excludes nothing, a set is not there, two cells have one name, or none is left:
    /// each is a slip of the pen.
    pub fn cells(&self) -> Result<Vec<Cell>> {
        let mut cells = if self.is_only_included() {
            Vec::new()
        } else {
            self.product()
        };
        for point in &self.exclude {
            let before = cells.len();
            cells.retain(|cell| !point.matches(cell));
            if cells.len() == before {
                return Err(invalid(format!("nothing is excluded by {}", point.words())));
            }
        }
        for point in &self.include {
            cells.push(self.cell_at(point)?);
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = cells.iter().find(|cell| !names.insert(&cell.name)) {
            let message = format!("two cells are called `{}`", twice.name);
            return Err(invalid(message)
                .with_hint("values that differ only in what a name cannot hold need other words"));
        }
        if cells.is_empty() {
            return Err(invalid("the matrix has no cell".to_owned()));
        }
        Ok(cells)
    }

    fn is_only_included(&self) -> bool {
        let varied =
            !self.pythons.is_empty() || !self.sets.is_empty() || !self.variables.is_empty();
        !varied && !self.include.is_empty()
    }

    fn product(&self) -> Vec<Cell> {
        let mut cells = vec![Cell::default()];
        cells = varied(cells, &self.pythons, |cell, python| {
            cell.python = Some(python.clone());
        });
        cells = varied(cells, &self.sets, |cell, set| cell.set = Some(set.clone()));
        for (name, values) in &self.variables {
            cells = varied(cells, values, |cell, value| {
                cell.variables.insert(name.clone(), value.clone());
            });
        }
        for cell in &mut cells {
            cell.name = self.name(cell);
        }
        cells
    }

    fn cell_at(&self, point: &Point) -> Result<Cell> {
        let find = |name: &String| -> Result<RequirementSet> {
            let found = self.sets.iter().find(|set| set.name == *name);
            found
                .cloned()
                .ok_or_else(|| invalid(format!("there is no requirement set `{name}`")))
        };
        let mut cell = Cell {
            name: String::new(),
            python: point.python.clone(),
            set: point.set.as_ref().map(find).transpose()?,
            variables: point.variables.clone(),
        };
        cell.name = self.name(&cell);
        Ok(cell)
    }

    /// The coordinates that make out a cell, in the order of the axes and such that a name can hold them.
    fn name(&self, cell: &Cell) -> String {
        let order = self.variables.iter().map(|(name, _)| name);
        let varied = order.clone().filter_map(|name| cell.variables.get(name));
        let order: BTreeSet<_> = order.collect();
        let others = cell
            .variables
            .iter()
            .filter(|(name, _)| !order.contains(name));
        let parts = cell.python.iter();
        let parts = parts.chain(cell.set.iter().map(|set| &set.name));
        let parts = parts.chain(varied).chain(others.map(|(_, value)| value));
        let parts: Vec<String> = parts.map(|part| part_of_name(part)).collect();
        parts.join("-")
    }
}

impl Point {
    fn matches(&self, cell: &Cell) -> bool {
        let set = cell.set.as_ref().map(|set| &set.name);
        self.python
            .iter()
            .all(|python| cell.python.as_ref() == Some(python))
            && self.set.iter().all(|name| set == Some(name))
            && self
                .variables
                .iter()
                .all(|(name, value)| cell.variables.get(name) == Some(value))
    }

    fn words(&self) -> String {
        let python = self.python.iter().map(|python| format!("python {python}"));
        let set = self.set.iter().map(|set| format!("set {set}"));
        let variables = self
            .variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let words: Vec<String> = python.chain(set).chain(variables).collect();
        format!("`{}`", words.join(", "))
    }
}

fn varied<T>(cells: Vec<Cell>, values: &[T], set: impl Fn(&mut Cell, &T)) -> Vec<Cell> {
    if values.is_empty() {
        return cells;
    }
    let mut more = Vec::with_capacity(cells.len() * values.len());
    for cell in cells {
        for value in values {
            let mut cell = cell.clone();
            set(&mut cell, value);
            more.push(cell);
        }
    }
    more
}

/// What a name holds of a value: `>=3.10` is `3.10`, `/opt/python` is `opt_python`.
fn part_of_name(value: &str) -> String {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_');
    let text: String = value
        .chars()
        .map(|letter| if allowed(letter) { letter } else { '_' })
        .collect();
    text.trim_matches(['_', '.']).to_owned()
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes() -> Axes {
        let set = |name: &str| RequirementSet {
            name: name.to_owned(),
            requirements: vec![format!("{name}==1")],
        };
        Axes {
            pythons: ["3.9", ">=3.12"].map(str::to_owned).into(),
            sets: vec![set("old"), set("new")],
            variables: vec![("MODE".to_owned(), ["a b", "c"].map(str::to_owned).into())],
            ..Axes::default()
        }
    }

    fn names(axes: &Axes) -> Vec<String> {
        axes.cells()
            .unwrap()
            .into_iter()
            .map(|cell| cell.name)
            .collect()
    }

    #[test]
    fn cells_are_every_combination_in_the_order_of_the_axes() {
        assert_eq!(
            names(&axes()),
            [
                "3.9-old-a_b",
                "3.9-old-c",
                "3.9-new-a_b",
                "3.9-new-c",
                "3.12-old-a_b",
                "3.12-old-c",
                "3.12-new-a_b",
                "3.12-new-c",
            ]
        );
        let last = axes().cells().unwrap().pop().unwrap();
        assert_eq!(last.python.as_deref(), Some(">=3.12"));
        assert_eq!(last.set.unwrap().requirements, ["new==1"]);
        assert_eq!(last.variables["MODE"], "c");
        assert_eq!(names(&Axes::default()), [""]);
    }

    #[test]
    fn what_is_excluded_is_gone_and_what_is_included_is_there_besides() {
        let point = |python: Option<&str>, set: Option<&str>, mode: Option<&str>| Point {
            python: python.map(str::to_owned),
            set: set.map(str::to_owned),
            variables: mode
                .map(|mode| ("MODE".to_owned(), mode.to_owned()))
                .into_iter()
                .collect(),
        };
        let axes = Axes {
            exclude: vec![
                point(Some("3.9"), None, None),
                point(None, Some("old"), Some("c")),
            ],
            include: vec![point(Some("3.13"), Some("new"), None)],
            ..axes()
        };
        assert_eq!(
            names(&axes),
            ["3.12-old-a_b", "3.12-new-a_b", "3.12-new-c", "3.13-new"]
        );
    }

    #[test]
    fn slips_of_the_pen_are_refused() {
        let excluding = |python: &str| Point {
            python: Some(python.to_owned()),
            ..Point::default()
        };
        let of_set = Point {
            set: Some("odl".to_owned()),
            ..Point::default()
        };
        for (axes, said) in [
            (
                Axes {
                    exclude: vec![excluding("3.8")],
                    ..axes()
                },
                "nothing is excluded by `python 3.8`",
            ),
            (
                Axes {
                    include: vec![of_set],
                    ..axes()
                },
                "no requirement set `odl`",
            ),
            (
                Axes {
                    pythons: vec!["3.9".to_owned(), ">3.9".to_owned()],
                    ..Axes::default()
                },
                "two cells are called `3.9`",
            ),
            (
                Axes {
                    pythons: vec!["3.9".to_owned()],
                    exclude: vec![excluding("3.9")],
                    ..Axes::default()
                },
                "no cell",
            ),
        ] {
            let error = axes.cells().unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn a_matrix_can_be_nothing_but_what_is_included() {
        let axes = Axes {
            include: vec![Point {
                python: Some("3.12".to_owned()),
                ..Point::default()
            }],
            ..Axes::default()
        };
        assert_eq!(names(&axes), ["3.12"]);
    }
}
