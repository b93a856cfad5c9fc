//! Writes numbers as Prometheus reads them: its text format 0.0.4, or OpenMetrics 1.0 for whoever asks for it.
//!
//! The two differ in a counter's name in its head, and in the end.

use std::fmt::Write;

/// What a family of numbers is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of what took at most so long.
    Histogram,
}

/// The text so far.
pub(crate) struct Text {
    out: String,
    open_metrics: bool,
}

impl Text {
    /// Nothing yet.
    pub fn new(open_metrics: bool) -> Text {
        Text { out: String::new(), open_metrics }
    }

    /// The head of a family; its numbers follow.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let (shown, word) = match kind {
            Kind::Counter if self.open_metrics => (name.strip_suffix("_total").unwrap_or(name), "counter"),
            Kind::Counter => (name, "counter"),
            Kind::Gauge => (name, "gauge"),
            Kind::Histogram => (name, "histogram"),
        };
        let _ = writeln!(self.out, "# HELP {shown} {help}\n# TYPE {shown} {word}");
    }

    /// A number.
    pub fn number(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.out.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.out, "{before}{label}=\"{text}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.out, "{end} {value}");
    }

    /// A family of one number.
    pub fn one(&mut self, name: &str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help);
        self.number(name, &[], value);
    }

    /// All of it, and what kind of text it is.
    pub fn end(mut self) -> (&'static str, String) {
        if self.open_metrics {
            self.out.push_str("# EOF\n");
            return ("application/openmetrics-text; version=1.0.0; charset=utf-8", self.out);
        }
        ("text/plain; version=0.0.4; charset=utf-8", self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_written_and_labels_are_escaped() {
        let write = |open_metrics| {
            let mut text = Text::new(open_metrics);
            text.family("a_total", Kind::Counter, "Things.");
            text.number("a_total", &[("b", "c\"\\"), ("d", "e")], 3.0);
            text.one("f_seconds", Kind::Gauge, "Time.", 0.25);
            text.end().1
        };
        let classic = "# HELP a_total Things.\n# TYPE a_total counter\na_total{b=\"c\\\"\\\\\",d=\"e\"} 3\n\
                       # HELP f_seconds Time.\n# TYPE f_seconds gauge\nf_seconds 0.25\n";
        assert_eq!(write(false), classic);
        let open = classic.replace("HELP a_total", "HELP a").replace("TYPE a_total", "TYPE a") + "# EOF\n";
        assert_eq!(write(true), open);
    }
}
