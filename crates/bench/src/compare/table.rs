//! The table at the end: a row for each figure, a column for each server, the ratio, and what is to be reached.

/// What a figure must be.
#[derive(Clone, Copy)]
enum Goal {
    None,
    /// The first server's figure is no more than this.
    AtMost(f64),
    /// The first server's figure is no less than this.
    AtLeast(f64),
    /// The first server's figure is so many times the second's.
    TimesAtLeast(f64),
    /// No more than that.
    TimesAtMost(f64),
}

/// A row.
pub struct Row {
    name: &'static str,
    values: Vec<f64>,
    goal: Goal,
}

impl Row {
    /// A figure of each server; those that were not measured may be left out at the end.
    pub fn new(name: &'static str, values: Vec<f64>) -> Row {
        Row { name, values, goal: Goal::None }
    }
    /// With this goal.
    pub fn at_most(mut self, most: f64) -> Row {
        self.goal = Goal::AtMost(most);
        self
    }
    /// With this goal.
    pub fn at_least(mut self, least: f64) -> Row {
        self.goal = Goal::AtLeast(least);
        self
    }
    /// With this goal; none if there is nothing to compare with.
    pub fn times_at_least(mut self, times: f64) -> Row {
        self.goal = Goal::TimesAtLeast(times);
        self
    }
    /// With this goal; none if there is nothing to compare with.
    pub fn times_at_most(mut self, times: f64) -> Row {
        self.goal = Goal::TimesAtMost(times);
        self
    }
    fn ratio(&self) -> Option<f64> {
        let (first, second) = (self.values.first()?, self.values.get(1)?);
        (*second > 0.0).then(|| first / second)
    }
    fn goal(&self) -> String {
        let told =
            |goal: String, reached: bool| format!("{goal}  {}", if reached { "reached" } else { "MISSED" });
        match (self.goal, self.values.first(), self.ratio()) {
            (Goal::AtMost(most), Some(value), _) => told(format!("at most {most:.1}"), *value <= most),
            (Goal::AtLeast(least), Some(value), _) => told(format!("at least {least:.0}"), *value >= least),
            (Goal::TimesAtLeast(times), _, Some(ratio)) => {
                told(format!("at least {times} times"), ratio >= times)
            }
            (Goal::TimesAtMost(times), _, Some(ratio)) => {
                told(format!("at most {times} times"), ratio <= times)
            }
            _ => String::new(),
        }
    }
}

/// The table.
pub struct Table {
    names: Vec<&'static str>,
    rows: Vec<Row>,
}

impl Table {
    /// With a column for each of these.
    pub fn new(names: Vec<&'static str>) -> Table {
        Table { names, rows: Vec::new() }
    }
    /// Adds a row.
    pub fn row(&mut self, row: Row) {
        self.rows.push(row);
    }
    /// Prints it.
    pub fn print(&self) {
        print!("{self}");
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\n{:<36}", "")?;
        for name in &self.names {
            write!(f, "{name:>12}")?;
        }
        writeln!(f, "{:>9}  to reach", if self.names.len() > 1 { "ratio" } else { "" })?;
        for row in &self.rows {
            write!(f, "{:<36}", row.name)?;
            for column in 0..self.names.len() {
                match row.values.get(column) {
                    Some(value) => write!(f, "{value:>12.2}")?,
                    None => write!(f, "{:>12}", "")?,
                }
            }
            let ratio = row.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
            writeln!(f, "{ratio:>9}  {}", row.goal())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_judged() {
        assert!(Row::new("a", vec![4.0, 1.0]).times_at_least(4.0).goal().ends_with("reached"));
        assert!(Row::new("a", vec![3.9, 1.0]).times_at_least(4.0).goal().ends_with("MISSED"));
        assert!(Row::new("a", vec![3.9, 1.0]).times_at_most(4.0).goal().ends_with("reached"));
        assert_eq!(Row::new("a", vec![3.9]).times_at_least(4.0).goal(), "");
        assert!(Row::new("a", vec![6.0]).at_most(5.0).goal().ends_with("MISSED"));
        let mut table = Table::new(vec!["vouchsafe", "postfix"]);
        table.row(Row::new("accepted, messages/s", vec![4.0, 2.0]));
        assert!(table.to_string().contains("2.00"), "{table}");
    }
}
